"""Child of `interpreter_check`: loads and runs one model on the tflite-micro wheel.

The wheel can end the process (too small an arena, scales of dead activations), so nothing else may
live in it. Reads the model from standard input; the last line of standard output is JSON, what TFLM
logs goes to standard error as it is.
"""

from __future__ import annotations

import json
import sys
from typing import Final

ARENA_BYTES: Final = 64 * 1024 * 1024


def main() -> int:
    """Load, print allocations, run once with zeros."""
    from tflite_micro import runtime

    model = sys.stdin.buffer.read()
    try:
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
        interpreter.print_allocations()
        loaded, ran, problem = True, False, ""
        interpreter.invoke()
        ran = True
    except (RuntimeError, ValueError) as error:
        loaded, ran, problem = "loaded" in dir(), False, str(error)
    sys.stdout.write(json.dumps({"loaded": loaded, "ran": ran, "problem": problem}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
