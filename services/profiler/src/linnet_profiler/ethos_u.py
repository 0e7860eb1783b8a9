"""What an Arm Ethos-U accelerator makes of a model, by Arm's compiler and its performance model.

Runs ethos-u-vela (extra: ethos-u) in a child process. Its cycles are its own estimate for its
reference system, not a measurement.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from linnet_runtime.errors import InvalidInput

from linnet_profiler.basis import Basis
from linnet_profiler.tflite.parser import parse

ACCELERATORS: Final = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
_COUNT: Final = re.compile(r"(CPU|NPU) operators = (\d+)")
_KIBIBYTE: Final = 1024
_LOG_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Offload:
    """A model compiled for an accelerator.

    Attributes:
        accelerator: Such as ethos-u55-128.
        clock_hz: Clock of Vela's reference system.
        npu_operators: Operators that the accelerator runs, in Vela's own count.
        cpu_operators: Operators that are left to the core.
        cycles: Accelerator cycles of one inference; 0 where it runs nothing.
        milliseconds: The same at that clock.
        sram_bytes: SRAM for activations.
        flash_bytes: Flash for weights and commands.
        basis: Always ESTIMATED.
    """

    accelerator: str
    clock_hz: int
    npu_operators: int
    cpu_operators: int
    cycles: int
    milliseconds: float
    sram_bytes: int
    flash_bytes: int
    basis: Basis


def offload(model: bytes, accelerator: str, *, timeout_s: float = 60.0) -> Offload:
    """Compile a model for an accelerator and read what the compiler says of it.

    Args:
        model: The .tflite file.
        accelerator: One of ACCELERATORS.
        timeout_s: Deadline of the compiler.

    Raises:
        ModelError: The file can't be read.
        InvalidInput: No such accelerator, the extra isn't installed, or the compiler gave up.
    """
    parse(model)
    known_accelerator(accelerator)
    if find_spec("ethosu") is None:
        raise _refused("ethos-u-vela isn't installed (extra: ethos-u)", "VELA_MISSING")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        command = [sys.executable, "-m", "ethosu.vela", str(path)]
        command += ["--accelerator-config", accelerator, "--output-dir", folder]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=timeout_s, check=False, text=True
            )
        except subprocess.TimeoutExpired as late:
            raise _refused(f"Vela still ran after {timeout_s:g} s", "VELA_FAILED") from late
        summaries = sorted(Path(folder).glob("*_summary_*.csv"))
        if done.returncode or not summaries:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise _refused(f"Vela gave up: {''.join(said)[:_LOG_CHARACTERS]}", "VELA_FAILED")
        with summaries[0].open() as file:
            summary = next(csv.DictReader(file))
    counts = {side: int(number) for side, number in _COUNT.findall(done.stdout)}
    flash = float(summary["on_chip_flash_memory_used"]) + float(
        summary["off_chip_flash_memory_used"]
    )
    return Offload(
        accelerator=accelerator,
        clock_hz=round(float(summary["core_clock"])),
        npu_operators=counts.get("NPU", 0),
        cpu_operators=counts.get("CPU", 0),
        cycles=round(float(summary["cycles_total"])),
        milliseconds=float(summary["cycles_total"]) / float(summary["core_clock"]) * 1e3,
        sram_bytes=round(float(summary["sram_memory_used"]) * _KIBIBYTE),
        flash_bytes=round(flash * _KIBIBYTE),
        basis=Basis.ESTIMATED,
    )


def known_accelerator(accelerator: str) -> None:
    """Refuse an accelerator that Vela doesn't know; raises InvalidInput."""
    if accelerator not in ACCELERATORS:
        known = ", ".join(ACCELERATORS)
        raise _refused(f"expected one of {known}, received {accelerator!r}", "UNKNOWN_ACCELERATOR")


def _refused(text: str, reason: str) -> InvalidInput:
    return InvalidInput.of("ethos_u", text, reason=reason)
