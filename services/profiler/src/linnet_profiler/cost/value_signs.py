"""How many values of a tensor are likely negative or zero: data-dependent kernels hang on it.

Soft-float multiplication takes a short cut at zero, ELU and leaky ReLU take another branch below
zero. The shares are those of symmetric random values, carried through the graph.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from linnet_profiler.tflite.model import Operator, Subgraph

_RECTIFIED: Final = ("relu", "relu6")
_PASSING: Final = frozenset(
    {
        "RESHAPE",
        "EXPAND_DIMS",
        "SQUEEZE",
        "TRANSPOSE",
        "STRIDED_SLICE",
        "SLICE",
        "SPLIT_V",
        "CONCATENATION",
        "PAD",
        "PADV2",
        "QUANTIZE",
        "DEQUANTIZE",
        "PACK",
        "UNPACK",
        "RESIZE_NEAREST_NEIGHBOR",
        "RESIZE_BILINEAR",
        "LEAKY_RELU",
        "ELU",
        "HARD_SWISH",
        "TANH",
        "MEAN",
    }
)
# What lies further back is forgotten, so that the time stays bounded.
_LONGEST_CHAIN: Final = 16
_POSITIVE: Final = frozenset({"LOGISTIC", "SOFTMAX"})


@dataclass(frozen=True, slots=True)
class Signs:
    """Shares of a tensor's values, each in [0, 1]."""

    negative: float
    zero: float


SYMMETRIC: Final = Signs(negative=0.5, zero=0.0)


def signs_of(graph: Subgraph, tensor: int) -> Signs:
    """Shares of negative and zero values of a tensor, from what computed it."""
    chain: list[Operator] = []
    before = len(graph.operators)
    while len(chain) < _LONGEST_CHAIN:
        writers = graph.writers.get(tensor, ())
        place = bisect_left(writers, before)
        if place == 0:
            break
        before = writers[place - 1]
        operator = graph.operators[before]
        chain.append(operator)
        if operator.name == "SPLIT":
            tensor = operator.inputs[1] if len(operator.inputs) > 1 else -1
        elif operator.name in _PASSING or operator.name in ("RELU", "RELU6") or _is_pool(operator):
            tensor = operator.inputs[0] if operator.inputs else -1
        else:
            break
    signs = SYMMETRIC
    for operator in reversed(chain):
        signs = _after(operator, signs)
    return signs


def _is_pool(operator: Operator) -> bool:
    return operator.name in ("MAX_POOL_2D", "AVERAGE_POOL_2D")


def _after(operator: Operator, before: Signs) -> Signs:
    signs = before
    if operator.name in _POSITIVE:
        return Signs(0.0, 0.0)
    if operator.name == "MAX_POOL_2D":
        window = max(1, min(64, operator.number("window_h") * operator.number("window_w")))
        negative = before.negative**window
        signs = Signs(negative, (before.negative + before.zero) ** window - negative)
    elif operator.name == "AVERAGE_POOL_2D":
        window = max(1, min(64, operator.number("window_h") * operator.number("window_w")))
        signs = Signs(before.negative, before.zero**window)
    elif operator.name == "MEAN":
        signs = Signs(before.negative, 0.0)
    elif operator.name not in _PASSING and operator.name not in ("RELU", "RELU6", "SPLIT"):
        signs = SYMMETRIC
    if operator.activation in _RECTIFIED or operator.name in ("RELU", "RELU6"):
        return Signs(0.0, signs.negative + signs.zero)
    return signs
