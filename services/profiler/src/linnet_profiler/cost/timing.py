"""Cycles and milliseconds: instructions through a model of the target's core and memory.

    cycles = per_instruction * instructions + per_streamed_byte * streamed bytes + overhead

The parameters and their bands are fitted to published board timings by `fit/fit_boards.py`. A board
without timings takes its family's, with a band of at least a factor of 2; a family without timings
takes what the core's architecture lets expect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from linnet_profiler.basis import Basis
from linnet_profiler.targets import Target
from linnet_profiler.tflite.model import Operator, Subgraph

UNCALIBRATED_BAND: Final = 2.0
UNKNOWN_CORE_BAND: Final = 2.5


@dataclass(frozen=True, slots=True)
class Timing:
    """How a target turns instructions into time.

    Attributes:
        cycles_per_instruction: Mean over the operators of a model.
        cycles_per_streamed_byte: For each byte of dense weights, read once past any cache.
        overhead_cycles: Once an inference.
        band: The 90 % band is the figure divided and multiplied by this.
        basis: CALIBRATED where this board was timed, else ESTIMATED.
    """

    cycles_per_instruction: float
    cycles_per_streamed_byte: float
    overhead_cycles: float
    band: float
    basis: Basis

    def cycles(self, instructions: float, streamed: float) -> float:
        """Cycles of one operator."""
        return self.cycles_per_instruction * instructions + self.cycles_per_streamed_byte * streamed


def streamed_bytes(graph: Subgraph, operator: Operator) -> int:
    """Weights an operator reads once an inference, so that no cache holds them."""
    if operator.name not in ("FULLY_CONNECTED", "SVDF"):
        return 0
    weights = graph.input(operator, 1)
    return weights.size_bytes if weights is not None and weights.is_constant else 0


class _Expected:
    """What architectures let expect before any board is timed.

    Cycles an instruction with code in flash behind the usual cache, int8 and float32: Armv6-M loads
    and branches take 2 cycles; Cortex-M4 and M33 lose some to wait states; Cortex-M7 and M85 issue
    two instructions at once; Cortex-M55 takes two cycles for a 128-bit vector instruction. Xtensa
    and RISC-V are relative to the Cortex-M4F counts of the reference kernels, which ESP-NN
    undercuts (cost-model facts in docs/profiler.md).
    """

    _CYCLES: Final[Mapping[str, tuple[float, float]]] = {
        "cortex-m0": (1.75, 1.75),
        "cortex-m0plus": (1.65, 1.6),
        "cortex-m23": (1.6, 1.6),
        "cortex-m3": (1.6, 1.7),
        "cortex-m4": (1.6, 2.0),
        "cortex-m4f": (1.6, 2.0),
        "cortex-m33": (1.45, 1.8),
        "cortex-m7": (1.3, 1.8),
        "cortex-m55": (1.15, 1.3),
        "cortex-m85": (0.85, 1.1),
        "xtensa-lx6": (1.1, 2.3),
        "xtensa-lx7": (0.15, 2.2),
        "xtensa-lx7-s2": (1.1, 30.0),
        "riscv32imc": (0.75, 30.0),
        "riscv32imafc": (0.27, 2.0),
        "cortex-a7": (1.2, 1.2),
        "cortex-a53": (0.9, 0.9),
        "cortex-a72": (0.55, 0.55),
        "x86-64": (0.35, 0.35),
    }
    _TIGHTLY_COUPLED: Final = 0.62
    _STREAMED: Final = 0.45
    _OVERHEAD: Final = 300.0

    def of(self, target: Target, kind: str) -> tuple[float, float, float]:
        """Cycles an instruction, a streamed byte, an inference."""
        integer, floating = self._CYCLES.get(target.core.id, (1.5, 1.5))
        cycles = floating if kind == "float32" else integer
        coupled = target.memory is not None and target.memory.cache == "tcm"
        if coupled:
            return cycles * self._TIGHTLY_COUPLED, self._STREAMED / 2, self._OVERHEAD
        return cycles, self._STREAMED, self._OVERHEAD


EXPECTED: Final = _Expected()


@cache
def _calibration() -> Mapping[str, Any]:
    text = files("linnet_profiler").joinpath("data", "calibration.json").read_text()
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def timing_class(target: Target) -> str:
    """The family of boards whose timings apply: core, kernel library and memory system."""
    cache_kind = target.memory.cache if target.memory is not None else "none"
    return f"{target.core.id}/{target.kernels.library}/{cache_kind}"


def timing_of(target: Target, *, floating: bool) -> Timing:
    """Timing of a target for float or integer models."""
    if target.memory is None:
        return Timing(
            target.core.cycles_per_instruction, 0.0, 0.0, UNCALIBRATED_BAND, Basis.ESTIMATED
        )
    kind = "float32" if floating else "int8"
    # Float kernels are the reference kernels whatever the library, so a board's timings hold.
    usual = target.kernels.library != "reference" or floating
    if usual:
        board = _calibration()["boards"].get(target.id, {}).get(kind)
        if board is not None and not target.custom:
            return _timing(board, Basis.CALIBRATED)
        family = _calibration()["families"].get(timing_class(target), {}).get(kind)
        if family is not None:
            return _timing(family, Basis.ESTIMATED)
    cycles, streamed, overhead = EXPECTED.of(target, kind)
    if target.kernels.library == "reference" and not floating:
        cycles = max(cycles, _REFERENCE_CYCLES.get(target.core.id, cycles))
    return Timing(cycles, streamed, overhead, UNKNOWN_CORE_BAND, Basis.ESTIMATED)


# Reference kernels on cores whose optimised kernels are counted relative to them; published person
# detection without ESP-NN.
_REFERENCE_CYCLES: Final[Mapping[str, float]] = {
    "xtensa-lx6": 6.0,
    "xtensa-lx7": 5.0,
    "xtensa-lx7-s2": 5.0,
    "riscv32imc": 5.6,
    "riscv32imafc": 5.2,
}


def _timing(entry: Mapping[str, float], basis: Basis) -> Timing:
    band = float(entry["band"])
    return Timing(
        cycles_per_instruction=float(entry["cycles_per_instruction"]),
        cycles_per_streamed_byte=float(entry["cycles_per_streamed_byte"]),
        overhead_cycles=float(entry["overhead_cycles"]),
        band=band if basis is Basis.CALIBRATED else max(band, UNCALIBRATED_BAND),
        basis=basis,
    )
