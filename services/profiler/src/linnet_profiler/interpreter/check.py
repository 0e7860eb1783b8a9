"""A check on the real interpreter: does a model load and run, does its arena agree with the replay.

Runs the tflite-micro wheel (reference kernels, 64-bit, recording allocator) in a child process with
a deadline and a memory limit, and compares its total with the replay of the same build.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi
from linnet_profiler.memory.arena import replay
from linnet_profiler.tflite.parser import parse

_MEMORY_BYTES: Final = 2 * 1024**3
_TOTAL: Final = re.compile(r"\[RecordingMicroAllocator\] Arena allocation (\w+) (\d+) bytes")


@dataclass(frozen=True, slots=True)
class InterpreterCheck:
    """What the real interpreter says of a model.

    Attributes:
        available: The wheel is installed.
        loaded: AllocateTensors succeeded.
        ran: One inference succeeded.
        crashed: The interpreter ended its process, or ran past the deadline.
        problem: What TFLM logged where something failed.
        arena_bytes: Its own total, 64-bit; None where it didn't load.
        head_bytes: Its own head.
        replayed_bytes: The replay's total for the same build.
        agrees: The totals are equal.
    """

    available: bool
    loaded: bool
    ran: bool
    crashed: bool
    problem: str
    arena_bytes: int | None
    head_bytes: int | None
    replayed_bytes: int
    agrees: bool


def check_on_interpreter(model: bytes, *, timeout_s: float = 20.0) -> InterpreterCheck:
    """Load and run a model on TFLite Micro in a child process.

    Args:
        model: The .tflite file.
        timeout_s: Deadline of the child.

    Raises:
        ModelError: The file can't be read.
    """
    replayed = replay(parse(model), Abi.WHEEL, KernelSet.REFERENCE).arena_used_bytes
    if find_spec("tflite_micro") is None:
        problem = "the tflite-micro wheel isn't installed (extra: check)"
        return InterpreterCheck(False, False, False, False, problem, None, None, replayed, False)
    command = [sys.executable, "-m", "linnet_profiler.interpreter.child"]
    try:
        done = subprocess.run(
            command,
            input=model,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            preexec_fn=_limit,
        )
    except subprocess.TimeoutExpired:
        problem = f"still running after {timeout_s:g} s"
        return InterpreterCheck(True, False, False, True, problem, None, None, replayed, False)
    log = done.stderr.decode("utf-8", errors="replace")
    totals = {name: int(size) for name, size in _TOTAL.findall(log)}
    said = _last_json(done.stdout)
    crashed = done.returncode != 0 or said is None
    arena = totals.get("total")
    problem = "" if said and said["ran"] else _reason(log, said, done.returncode)
    return InterpreterCheck(
        available=True,
        loaded=arena is not None,
        ran=bool(said and said["ran"]),
        crashed=crashed,
        problem=problem,
        arena_bytes=arena,
        head_bytes=totals.get("head"),
        replayed_bytes=replayed,
        agrees=arena == replayed,
    )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _last_json(output: bytes) -> dict[str, object] | None:
    for line in reversed(output.decode("utf-8", errors="replace").splitlines()):
        if line.startswith("{"):
            loaded: dict[str, object] = json.loads(line)
            return loaded
    return None


def _reason(log: str, said: dict[str, object] | None, code: int) -> str:
    lines = [
        line for line in log.splitlines() if line and not line.startswith("[RecordingMicroAlloc")
    ]
    detail = lines[-1][:300] if lines else ""
    if said is not None:
        return f"{said['problem']} {detail}".strip()
    return f"the interpreter ended with code {code} {detail}".strip()
