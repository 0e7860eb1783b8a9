"""The check on the real interpreter in a sandbox's child, for models that nobody vouches for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from linnet_runtime.errors import DeadlineExceeded
from linnet_runtime.sandbox import Limits, Sandbox, SandboxFailure, SharedBytes

from linnet_profiler.interpreter.check import InterpreterCheck, installed, judged, not_installed
from linnet_profiler.interpreter.child import load_and_run

_LOG: Final = 2
_LOG_BYTES: Final = 65_536


def run_model(
    arguments: Mapping[str, Any], inputs: Sequence[memoryview]
) -> tuple[dict[str, Any], list[bytes]]:
    """Load and run a model; a sandbox function.

    Args:
        arguments: None.
        inputs: The .tflite file.

    Returns:
        `ran` and `problem`, and what TFLM wrote.
    """
    del arguments
    said = load_and_run(bytes(inputs[0]))
    # The sandbox's child writes its log to a file in memory.
    return said, [os.pread(_LOG, _LOG_BYTES, 0)]


def check_in_sandbox(
    sandbox: Sandbox, model: bytes, replayed_bytes: int, limits: Limits
) -> InterpreterCheck:
    """Load and run a model on TFLite Micro and compare its arena with the replay's.

    Args:
        sandbox: Where it runs.
        model: The .tflite file.
        replayed_bytes: The replay's arena for the interpreter's own build.
        limits: What the child may take.

    Raises:
        Unavailable: The sandbox died; the next call starts another.
    """
    if not installed():
        return not_installed(replayed_bytes)
    try:
        with SharedBytes(model) as shared:
            answer = sandbox.run(f"{__name__}:run_model", {}, [shared], limits)
    except SandboxFailure as failure:
        return judged(replayed_bytes, failure.log_tail, None, failure.message)
    except DeadlineExceeded as late:
        return judged(replayed_bytes, "", None, late.message)
    log = bytes(answer.outputs[0]).decode("utf-8", errors="replace")
    return judged(replayed_bytes, log, answer.value, "")
