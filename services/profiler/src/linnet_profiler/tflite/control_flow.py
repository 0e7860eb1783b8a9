"""Which subgraphs IF, WHILE and CALL_ONCE run, and that none runs itself."""

from __future__ import annotations

from typing import Final

from linnet_profiler.errors import ModelError
from linnet_profiler.tflite.model import Operator, Subgraph

# Each run is planned on its own, and two runs of two runs of two grow without bound.
MAX_SUBGRAPH_RUNS: Final = 256
# Operators of those runs together: a subgraph that many operators call is walked each time.
MAX_OPERATOR_RUNS: Final = 65_536


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
    runs = _planned(calls, [1] * len(subgraphs))
    if runs > MAX_SUBGRAPH_RUNS:
        raise ModelError(
            f"subgraphs: they run one another {runs} times, at most {MAX_SUBGRAPH_RUNS}"
        )
    walked = _planned(calls, [len(graph.operators) for graph in subgraphs])
    if walked > MAX_OPERATOR_RUNS:
        raise ModelError(
            f"subgraphs: they run {walked} operators in one another, at most {MAX_OPERATOR_RUNS}"
        )


def _planned(calls: dict[int, list[int]], weights: list[int]) -> int:
    """The largest weight of a subgraph and all that it runs, each as often as it runs."""
    found: dict[int, int] = {}
    return max(_weight(start, calls, (), found, weights) for start in calls)


def _weight(
    index: int,
    calls: dict[int, list[int]],
    path: tuple[int, ...],
    found: dict[int, int],
    weights: list[int],
) -> int:
    if index in path:
        raise ModelError(f"subgraph {index}: calls itself")
    if index not in found:
        found[index] = weights[index] + sum(
            _weight(called, calls, (*path, index), found, weights) for called in calls[index]
        )
    return found[index]
