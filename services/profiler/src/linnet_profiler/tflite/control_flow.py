"""Which subgraphs IF, WHILE and CALL_ONCE run, and that none runs itself."""

from __future__ import annotations

from typing import Final

from linnet_profiler.errors import ModelError
from linnet_profiler.tflite.model import Operator, Subgraph

# Each run is planned on its own, and two runs of two runs of two grow without bound.
MAX_SUBGRAPH_RUNS: Final = 256


def called_subgraphs(operator: Operator) -> tuple[int, ...]:
    """Subgraphs that IF, WHILE and CALL_ONCE run, in the order TFLM plans them."""
    names = {
        "IF": ("then_subgraph", "else_subgraph"),
        "WHILE": ("cond_subgraph", "body_subgraph"),
        "CALL_ONCE": ("init_subgraph",),
    }.get(operator.name, ())
    return tuple(operator.number(name) for name in names)


def check_control_flow(subgraphs: tuple[Subgraph, ...]) -> None:
    """Refuse subgraphs that call themselves: TFLM would plan without end."""
    calls: dict[int, list[int]] = {graph.index: [] for graph in subgraphs}
    for graph in subgraphs:
        for operator in graph.operators:
            for called in called_subgraphs(operator):
                if not 0 <= called < len(subgraphs):
                    raise ModelError(
                        f"operator {operator.index} ({operator.name}): subgraph {called} "
                        f"of {len(subgraphs)}"
                    )
                calls[graph.index].append(called)
    runs: dict[int, int] = {}
    for start in calls:
        _count(start, calls, (), runs)
    if max(runs.values()) > MAX_SUBGRAPH_RUNS:
        raise ModelError(
            f"subgraphs: they run one another {max(runs.values())} times, at most "
            f"{MAX_SUBGRAPH_RUNS}"
        )


def _count(
    index: int, calls: dict[int, list[int]], path: tuple[int, ...], runs: dict[int, int]
) -> int:
    """How often subgraphs are planned when one of them is: itself and all that it runs."""
    if index in path:
        raise ModelError(f"subgraph {index}: calls itself")
    if index not in runs:
        runs[index] = 1 + sum(
            _count(called, calls, (*path, index), runs) for called in calls[index]
        )
    return runs[index]
