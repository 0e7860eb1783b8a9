"""Which kernel path an operator takes and how often its loops run: what the cost model fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_profiler.cost.armv6m import division_instructions
from linnet_profiler.cost.conv import convolution_terms
from linnet_profiler.cost.counted import Counted
from linnet_profiler.cost.dense import dense_terms
from linnet_profiler.cost.moves import COPYING
from linnet_profiler.cost.other import other_terms
from linnet_profiler.cost.pool import pool_terms
from linnet_profiler.cost.value_signs import signs_of
from linnet_profiler.cost.value_spread import averages_of
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.geometry import window_of
from linnet_profiler.tflite.model import Operator, Subgraph


@dataclass(frozen=True, slots=True)
class Cost:
    """How an operator is computed.

    Attributes:
        key: Operator, element type and path: the group whose coefficients apply.
        terms: Loop body -> times it runs.
    """

    key: str
    terms: dict[str, float]


# Terms that multiply or add, and so run shorter in soft float where an operand is zero.
_MULTIPLIED: Final = {
    "CONV_2D": "macs",
    "DEPTHWISE_CONV_2D": "valid_taps",
    "FULLY_CONNECTED": "macs",
    "TRANSPOSE_CONV": "macs",
    "MAX_POOL_2D": "taps",
    "AVERAGE_POOL_2D": "taps",
    "MEAN": "summed_elements",
    "SUM": "summed_elements",
}


def cost_of(graph: Subgraph, operator: Operator, kernels: KernelSet, *, soft_float: bool) -> Cost:
    """Path and loop counts of an operator with a kernel set.

    Args:
        graph: The operator's subgraph.
        operator: The operator.
        kernels: Kernel set of the firmware.
        soft_float: The core has no FPU, so that float work depends on the data.
    """
    # Armv6-M's memcpy is the same whichever the kernels.
    copying = soft_float and operator.name in COPYING
    counted = _counted(graph, operator, KernelSet.CMSIS_C if copying else kernels)
    place = 2 if operator.name == "TRANSPOSE_CONV" else 1 if operator.name == "SPLIT" else 0
    image = graph.input(operator, place)
    dtype = "" if image is None else image.dtype
    terms = counted.terms
    multiplied = _MULTIPLIED.get(operator.name)
    if soft_float and dtype == "FLOAT32" and multiplied in terms and image is not None:
        zero = signs_of(graph, image.index).zero
        count = terms[multiplied]
        terms = {**terms, multiplied: count * (1 - zero), f"{multiplied}_zero": count * zero}
    output = graph.output(operator)
    if soft_float and operator.name == "AVERAGE_POOL_2D" and dtype == "INT8" and output is not None:
        mean, deviation = averages_of(graph, operator)
        division = output.elements * division_instructions(mean, deviation)
        terms = {**terms, "division": division}
    if counted.any_type:
        dtype = ""
    elif output is not None and output.dtype != dtype:
        dtype = f"{dtype}-{output.dtype}"
    return Cost(f"{counted.family or operator.name}|{dtype}|{counted.path}", terms)


def _counted(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted:
    counted: Counted | None = None
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        counted = convolution_terms(graph, operator, kernels)
    elif operator.name == "FULLY_CONNECTED":
        counted = dense_terms(graph, operator, kernels)
    elif operator.name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        counted = pool_terms(graph, operator, kernels)
    return counted or other_terms(graph, operator, kernels)


def macs_of(graph: Subgraph, operator: Operator) -> int:
    """Multiply-accumulates of an operator, padding counted; 0 where it multiplies no weights."""
    counter = _MACS.get(operator.name)
    return counter(graph, operator) if counter is not None else 0


def _window_macs(graph: Subgraph, operator: Operator) -> int:
    window = window_of(graph, operator)
    if window is None:
        return 0
    depth = window.filter_channels if operator.name == "CONV_2D" else 1
    return window.positions * window.channels_out * window.taps * depth


def _dense_macs(graph: Subgraph, operator: Operator) -> int:
    weights, output = graph.input(operator, 1), graph.output(operator)
    if weights is None or output is None or not weights.shape:
        return 0
    return output.elements * weights.shape[-1]


def _scatter_macs(graph: Subgraph, operator: Operator) -> int:
    image, weights = graph.input(operator, 2), graph.input(operator, 1)
    if image is None or weights is None or len(weights.shape) != 4:
        return 0
    return image.elements * weights.shape[1] * weights.shape[2] * weights.shape[0]


def _product_macs(graph: Subgraph, operator: Operator) -> int:
    left, output = graph.input(operator, 0), graph.output(operator)
    if left is None or output is None or len(left.shape) < 2:
        return 0
    return output.elements * left.shape[-2 if operator.options.get("adj_x") else -1]


def _filter_macs(graph: Subgraph, operator: Operator) -> int:
    image, features, times = (graph.input(operator, place) for place in (0, 1, 2))
    if image is None or features is None or times is None or not image.shape:
        return 0
    return image.shape[0] * (features.elements + times.elements)


def _lstm_macs(graph: Subgraph, operator: Operator) -> int:
    image, weights, recurrent = (
        graph.input(operator, 0),
        graph.input(operator, 2),
        graph.input(operator, 6),
    )
    if image is None or weights is None or recurrent is None or not image.shape:
        return 0
    steps = image.elements // max(1, image.shape[-1])
    return 4 * steps * (weights.elements + recurrent.elements)


_MACS: Final = {
    "CONV_2D": _window_macs,
    "DEPTHWISE_CONV_2D": _window_macs,
    "FULLY_CONNECTED": _dense_macs,
    "TRANSPOSE_CONV": _scatter_macs,
    "BATCH_MATMUL": _product_macs,
    "SVDF": _filter_macs,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_macs,
}


def valid_macs_of(graph: Subgraph, operator: Operator) -> int:
    """Multiply-accumulates on taps inside the image: what reference kernels really compute."""
    window = window_of(graph, operator)
    if operator.name == "CONV_2D" and window is not None:
        return window.valid_taps * window.filter_channels * window.channels_out
    if operator.name == "DEPTHWISE_CONV_2D" and window is not None:
        return window.valid_taps * window.channels_out
    return macs_of(graph, operator)
