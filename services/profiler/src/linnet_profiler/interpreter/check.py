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
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi
from linnet_profiler.memory.arena import replay
from linnet_profiler.tflite.model import Model
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
    replayed = replayed_arena_bytes(parse(model))
    if not installed():
        return not_installed(replayed)
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
        return judged(replayed, "", None, f"still running after {timeout_s:g} s")
    log = done.stderr.decode("utf-8", errors="replace")
    said = _last_json(done.stdout) if done.returncode == 0 else None
    return judged(replayed, log, said, f"the interpreter ended with code {done.returncode}")


def replayed_arena_bytes(model: Model) -> int:
    """The arena that the replay says the wheel's interpreter takes."""
    return replay(model, Abi.WHEEL, KernelSet.REFERENCE).arena_used_bytes


def installed() -> bool:
    """Whether the wheel is there."""
    return find_spec("tflite_micro") is not None


def not_installed(replayed: int) -> InterpreterCheck:
    """The check where the wheel is missing."""
    problem = "the tflite-micro wheel isn't installed (extra: check)"
    return InterpreterCheck(False, False, False, False, problem, None, None, replayed, False)


def judged(
    replayed: int, log: str, said: Mapping[str, Any] | None, ending: str
) -> InterpreterCheck:
    """Compare what the interpreter did with the replay.

    Args:
        replayed: The replay's arena in bytes.
        log: What TFLM wrote.
        said: `ran` and `problem` of the child; None where it ended without an answer.
        ending: How it ended then.
    """
    totals = {name: int(size) for name, size in _TOTAL.findall(log)}
    arena, ran = totals.get("total"), bool(said and said["ran"])
    lines = [
        line
        for line in log.splitlines()
        if line.strip() and not line.startswith("[RecordingMicroAlloc")
    ]
    detail = lines[-1][:300] if lines else ""
    start = ending if said is None else said["problem"]
    return InterpreterCheck(
        available=True,
        loaded=arena is not None,
        ran=ran,
        crashed=said is None,
        problem="" if ran else f"{start} {detail}".strip(),
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
