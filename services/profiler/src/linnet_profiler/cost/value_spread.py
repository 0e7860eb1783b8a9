"""Where the values of an int8 tensor likely lie: division in software takes a step a bit.

Values before an activation are normal with three deviations on each side of zero; those of the
model's input are even over the whole range, as the measured firmware was fed.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final

from linnet_profiler.cost.value_signs import signs_of
from linnet_profiler.tflite.model import Operator, Subgraph

_LOWEST, _HIGHEST = -128.0, 127.0
_EVEN_DEVIATION: Final = 256 / sqrt(12)
_NORMAL_DEVIATION: Final = 128 / 3
# A rectified normal has its range all on one side: mean and deviation in deviations before it.
_RECTIFIED_DEVIATION: Final = 255 / 3
_RECTIFIED_MEAN: Final = 0.399
_RECTIFIED_SPREAD: Final = 0.584
# What lies further back is forgotten, so that the time stays bounded.
_LONGEST_CHAIN: Final = 8
_PASSING: Final = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE", "MAX_POOL_2D"})


def averages_of(graph: Subgraph, pool: Operator) -> tuple[float, float]:
    """Mean and deviation of what an average pool gives, in int8 steps."""
    return _averages(graph, pool, _LONGEST_CHAIN)


def _averages(graph: Subgraph, pool: Operator, depth: int) -> tuple[float, float]:
    mean, deviation = _values_of(graph, pool.inputs[0], depth)
    return mean, deviation / sqrt(_window(pool))


def _window(pool: Operator) -> int:
    return max(1, pool.number("window_h") * pool.number("window_w"))


def _values_of(graph: Subgraph, tensor: int, depth: int) -> tuple[float, float]:
    if tensor < 0:
        return 0.0, _NORMAL_DEVIATION
    writers = graph.writers.get(tensor)
    if not writers:
        return 0.0, _EVEN_DEVIATION
    maker = graph.operators[writers[0]]
    if depth and maker.inputs and maker.activation == "none":
        if maker.name == "AVERAGE_POOL_2D":
            return _averages(graph, maker, depth - 1)
        if maker.name in _PASSING:
            mean, deviation = _values_of(graph, maker.inputs[0], depth - 1)
            taps = _window(maker) if maker.name == "MAX_POOL_2D" else 1
            return _largest(mean, deviation, taps)
    points = graph.tensors[tensor].zero_points
    zero = float(points[0]) if points else 0.0
    if signs_of(graph, tensor).zero:
        mean = zero + _RECTIFIED_MEAN * _RECTIFIED_DEVIATION
        return mean, _RECTIFIED_SPREAD * _RECTIFIED_DEVIATION
    return zero, _NORMAL_DEVIATION


def _largest(mean: float, deviation: float, count: int) -> tuple[float, float]:
    """Mean and deviation of the largest of several normal values, roughly."""
    if count == 1:
        return mean, deviation
    # Blom's approximation of the expected maximum; the spread shrinks with the logarithm.
    lift = 0.68 * sqrt(2 * log(count))
    moved = min(_HIGHEST, max(_LOWEST, mean + lift * deviation))
    return moved, deviation / sqrt(1 + 0.7 * log(count))
