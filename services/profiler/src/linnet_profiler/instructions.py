"""Instructions of each operator: fitted coefficients times how often the kernel's loops run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from linnet_profiler.basis import Basis
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Operator, Subgraph
from linnet_profiler.op_cost import cost_of
from linnet_profiler.targets import Core, Counts

# Where a path was never counted: instructions a call and an output element, by kind of element.
_FALLBACK_CALL: Final = 600.0
_FALLBACK_ELEMENT: Final = {"INT8": 60.0, "FLOAT32": 30.0}
_SOFT_FLOAT_FACTOR: Final = 8.0


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One path's fit.

    Attributes:
        terms: Loop body -> instructions each time it runs.
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


def count_instructions(
    graph: Subgraph, operator: Operator, core: Core, counts: Counts
) -> InstructionCount:
    """Instructions of an operator on a core.

    Args:
        graph: The operator's subgraph.
        operator: The operator.
        core: The core it runs on.
        counts: The measured build that stands for the core and its kernels.
    """
    kernels = KernelSet(counts.build.partition("/")[2])
    soft_float = counts.build.startswith("cortex-m0plus")
    cost = cost_of(graph, operator, kernels, soft_float=soft_float)
    paths = _builds()[counts.build]
    fit, basis = paths.get(cost.key), counts.basis
    if fit is None:
        fit = _relative(paths, cost.key)
        basis = Basis.ESTIMATED
    if fit is None:
        return InstructionCount(_fallback(graph, operator, core), Basis.ESTIMATED, cost.key)
    count = sum(value * cost.terms.get(term, 0.0) for term, value in fit.terms.items())
    return InstructionCount(count * counts.factor, basis, cost.key)


def _relative(paths: Mapping[str, Coefficients], key: str) -> Coefficients | None:
    """Coefficients of the same operator and element type on another path, if one was counted."""
    operator, dtype, _ = key.split("|")
    near = [fit for name, fit in paths.items() if name.startswith(f"{operator}|{dtype}|")]
    return max(near, key=lambda fit: fit.models, default=None)


def _fallback(graph: Subgraph, operator: Operator, core: Core) -> float:
    output = graph.output(operator)
    if output is None:
        return _FALLBACK_CALL
    per_element = _FALLBACK_ELEMENT.get(output.dtype, 30.0)
    if core.soft_float and output.dtype == "FLOAT32":
        per_element *= _SOFT_FLOAT_FACTOR
    return _FALLBACK_CALL + per_element * output.elements
