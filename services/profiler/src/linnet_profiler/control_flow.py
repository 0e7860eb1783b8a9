"""Which subgraphs IF, WHILE and CALL_ONCE run, and that none runs itself."""

from __future__ import annotations

from linnet_profiler.errors import ModelError
from linnet_profiler.model import Operator, Subgraph


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
    done: set[int] = set()
    for start in calls:
        _walk(start, calls, set(), done)


def _walk(index: int, calls: dict[int, list[int]], path: set[int], done: set[int]) -> None:
    if index in path:
        raise ModelError(f"subgraph {index}: calls itself")
    if index in done:
        return
    for called in calls[index]:
        _walk(called, calls, path | {index}, done)
    done.add(index)
