"""Cycles and milliseconds: instructions through a cycles-per-instruction model of the target.

The model and its bands are fitted to published board timings by `fit/fit_boards.py`; a family of
boards without timings takes its core's figure and a band of at least a factor of 2.
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

UNCALIBRATED_BAND: Final = 2.0
# A bare core has no memory system to be unsure of; what is left is the core's own pipeline.
_BARE_BAND: Final = 1.5


@dataclass(frozen=True, slots=True)
class Timing:
    """How a target turns instructions into time.

    Attributes:
        cycles_per_instruction: Mean over the operators of a model.
        band: The 90 % band is the figure divided and multiplied by this.
        basis: CALIBRATED where boards of its family were timed, else ESTIMATED.
    """

    cycles_per_instruction: float
    band: float
    basis: Basis


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
        return Timing(target.core.cycles_per_instruction, _BARE_BAND, Basis.ESTIMATED)
    kind = "float32" if floating else "int8"
    calibration = _calibration()
    fit = calibration["boards"].get(target.id, {}).get(kind)
    if fit is None:
        fit = calibration["classes"].get(timing_class(target), {}).get(kind)
    if fit is None:
        return Timing(
            target.core.cycles_per_instruction * _WAITS.get(target.memory.cache, 1.0),
            UNCALIBRATED_BAND,
            Basis.ESTIMATED,
        )
    return Timing(float(fit["cpi"]), float(fit["band"]), Basis(fit["basis"]))


# What a memory system costs where no board of its family was timed.
_WAITS: Final = {
    "tcm": 1.0,
    "art": 1.25,
    "icache": 1.15,
    "cache": 1.35,
    "prefetch": 1.35,
    "none": 1.0,
}
