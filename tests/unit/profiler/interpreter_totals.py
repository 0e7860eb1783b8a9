"""Arenas that the tflite-micro wheel takes for every model of an archive, as JSON lines.

Run as a process: each model is loaded in a fork of it, since the wheel may end its process.
"""

import json
import os
import re
import sys
import tempfile
import zipfile

_TOTAL = re.compile(r"Arena allocation (\w+) (\d+) bytes")
_ARENA_BYTES = 16 * 1024 * 1024


def _load(data: bytes) -> tuple[int, str]:
    from tflite_micro import runtime

    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 2)
            code = 1
            try:
                interpreter = runtime.Interpreter.from_bytes(data, arena_size=_ARENA_BYTES)
                interpreter.print_allocations()
                interpreter.invoke()
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        log.seek(0)
        return status, log.read().decode(errors="replace")


def main() -> None:
    """Print one line a model: name, total and head in bytes (null: refused), whether it ran."""
    with zipfile.ZipFile(sys.argv[1]) as archive:
        for name in archive.namelist():
            status, log = _load(archive.read(name))
            totals = {part: int(size) for part, size in _TOTAL.findall(log)}
            line = {
                "name": name,
                "total": totals.get("total"),
                "head": totals.get("head"),
                "ran": status == 0,
                "why": [text for text in log.splitlines() if "Recording" not in text][-3:],
            }
            sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
