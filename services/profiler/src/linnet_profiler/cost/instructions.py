"""Instructions of each operator: fitted coefficients times how often the kernel's loops run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from linnet_profiler.basis import Basis
from linnet_profiler.cost.operators import Cost, cost_of
from linnet_profiler.cost.unseen import unseen_instructions
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.targets import Counts
from linnet_profiler.tflite.model import Operator, Subgraph

# TFLM's own call of an operator, which no operator goes below.
_DISPATCH: Final = 100.0
# Element types whose kernels run the same loops on the same path.
_STAND_INS: Final[Mapping[str, str]] = {"INT16": "INT8", "UINT8": "INT8"}


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One path's fit.

    Attributes:
        terms: Loop body -> instructions each time it runs; 0 where the fit left nothing for it.
        models: Models it was fitted to.
    """

    terms: Mapping[str, float]
    models: int


@dataclass(frozen=True, slots=True)
class InstructionCount:
    """Instructions of one operator.

    Attributes:
        instructions: Count, TFLM's dispatch included.
        basis: SIMULATED where its path was counted on this core, else ESTIMATED.
        path: Kernel path, such as CONV_2D|INT8|1x1.
    """

    instructions: float
    basis: Basis
    path: str


@cache
def _builds() -> Mapping[str, Mapping[str, Coefficients]]:
    text = files("linnet_profiler").joinpath("data", "instructions.json").read_text()
    return {
        build: {key: Coefficients(entry["terms"], entry["models"]) for key, entry in paths.items()}
        for build, paths in json.loads(text).items()
    }


def count_instructions(graph: Subgraph, operator: Operator, counts: Counts) -> InstructionCount:
    """Instructions of an operator on a core.

    Args:
        graph: The operator's subgraph.
        operator: The operator.
        counts: The measured build that stands for the core and its kernels.
    """
    kernels = KernelSet(counts.build.partition("/")[2])
    soft_float = counts.build.startswith("cortex-m0plus")
    cost = cost_of(graph, operator, kernels, soft_float=soft_float)
    paths = _builds()[counts.build]
    fit, basis = paths.get(cost.key), counts.basis
    if fit is None:
        fit, basis = _relative(paths, cost), Basis.ESTIMATED
    terms = {} if fit is None else fit.terms
    count = sum(value * cost.terms.get(term, 0.0) for term, value in terms.items())
    if fit is None or any(times and name not in terms for name, times in cost.terms.items()):
        # Work that no fit has seen must not count for nothing.
        unseen = unseen_instructions(graph, operator, kernels, soft_float=soft_float)
        count, basis = max(count, unseen), Basis.ESTIMATED
    return InstructionCount(max(count, _DISPATCH) * counts.factor, basis, cost.key)


def _relative(paths: Mapping[str, Coefficients], cost: Cost) -> Coefficients | None:
    """Coefficients of the same operator whose loops are the same, if such were counted."""
    operator, dtype, path = cost.key.split("|")
    names = [name for name, times in cost.terms.items() if times]
    near = [
        fit
        for key, fit in paths.items()
        for other, kind, way in [key.split("|")]
        if other == operator
        and (kind == dtype or (way == path and kind == _STAND_INS.get(dtype)))
        and all(name in fit.terms for name in names)
    ]
    return max(near, key=lambda fit: fit.models, default=None)
