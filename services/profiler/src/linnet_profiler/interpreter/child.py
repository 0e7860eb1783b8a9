"""What an interpreter check's child does: loads and runs one model on the tflite-micro wheel.

The wheel can end the process (too small an arena, scales of dead activations), so nothing else may
live in it. Reads the model from standard input; the last line of standard output is JSON, what TFLM
logs goes to standard error as it is.
"""

from __future__ import annotations

import json
import sys
from typing import Final

ARENA_BYTES: Final = 64 * 1024 * 1024


def load_and_run(model: bytes) -> dict[str, bool | str]:
    """Load a model, let TFLM print its allocations to descriptor 2, run once with zeros.

    Returns:
        `ran`, and the `problem` where it didn't.
    """
    from tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
        interpreter.print_allocations()
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        return {"ran": False, "problem": str(error)}
    return {"ran": True, "problem": ""}


def main() -> int:
    """Load and run what comes on standard input."""
    sys.stdout.write(json.dumps(load_and_run(sys.stdin.buffer.read())) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
