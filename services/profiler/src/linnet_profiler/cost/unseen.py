"""Instructions of operators that nobody counted: from their work, and what such loops usually take.

Every figure from here is an estimate. The costs are those of a Thumb-2 core with an FPU, read off
the counted operators whose loops are alike (docs/profiler-accuracy.md) and the kernels' source;
Armv6-M takes about three times as many for integers, and soft float ten to forty times.
"""

from __future__ import annotations

from math import prod
from typing import Final

from linnet_profiler.cost.operators import macs_of
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.model import Operator, Subgraph, Tensor

_CALL: Final = 600.0
_ARMV6M: Final = 3.0
_SOFT_FLOAT: Final = 10.0
_SOFT_TRANSCENDENTAL: Final = 35.0
_TRANSCENDENTAL: Final = frozenset(
    {"EXP", "LOG", "SIN", "COS", "LOGISTIC", "TANH", "ELU", "SOFTMAX", "LOG_SOFTMAX", "GELU"}
)
# Operators that copy: the same for every type.
_MOVING: Final[dict[str, float]] = {
    "BATCH_TO_SPACE_ND": 25.0,
    "BROADCAST_ARGS": 40.0,
    "BROADCAST_TO": 80.0,
    "CALL_ONCE": 0.0,
    "DEPTH_TO_SPACE": 45.0,
    "DYNAMIC_UPDATE_SLICE": 20.0,
    "EMBEDDING_LOOKUP": 4.0,
    "EXPAND_DIMS": 4.0,
    "FILL": 3.0,
    "GATHER": 8.0,
    "GATHER_ND": 10.0,
    "IF": 4.0,
    "MIRROR_PAD": 90.0,
    "PACK": 6.0,
    "PAD": 35.0,
    "PADV2": 35.0,
    "READ_VARIABLE": 3.0,
    "ASSIGN_VARIABLE": 3.0,
    "RESHAPE": 3.0,
    "REVERSE_V2": 15.0,
    "SELECT_V2": 20.0,
    "SLICE": 12.0,
    "SPACE_TO_BATCH_ND": 25.0,
    "SPACE_TO_DEPTH": 45.0,
    "SPLIT": 6.0,
    "SPLIT_V": 6.0,
    "SQUEEZE": 3.0,
    "STRIDED_SLICE": 20.0,
    "TRANSPOSE": 25.0,
    "UNPACK": 6.0,
    "WHILE": 4.0,
    "ZEROS_LIKE": 3.0,
}
# An element, as (float, integer).
_COMPUTING: Final[dict[str, tuple[float, float]]] = {
    "ABS": (20.0, 60.0),
    "ADD_N": (20.0, 90.0),
    "ARG_MAX": (10.0, 10.0),
    "ARG_MIN": (10.0, 10.0),
    "AVERAGE_POOL_2D": (12.0, 14.0),
    "CAST": (8.0, 8.0),
    "COS": (70.0, 70.0),
    "CUMSUM": (35.0, 60.0),
    "DEQUANTIZE": (9.0, 9.0),
    "DIV": (30.0, 120.0),
    "ELU": (60.0, 25.0),
    "EXP": (60.0, 60.0),
    "FLOOR_DIV": (40.0, 40.0),
    "FLOOR_MOD": (60.0, 60.0),
    "L2_NORMALIZATION": (30.0, 70.0),
    "LEAKY_RELU": (9.0, 51.0),
    "LOG": (60.0, 60.0),
    "LOGISTIC": (76.0, 120.0),
    "LOG_SOFTMAX": (90.0, 520.0),
    "MAX_POOL_2D": (12.0, 14.0),
    "MEAN": (130.0, 130.0),
    "MUL": (14.0, 70.0),
    "PRELU": (60.0, 110.0),
    "QUANTIZE": (35.0, 45.0),
    "RESIZE_BILINEAR": (55.0, 70.0),
    "RSQRT": (40.0, 250.0),
    "SIN": (70.0, 70.0),
    "SOFTMAX": (88.0, 150.0),
    "SQUARED_DIFFERENCE": (15.0, 110.0),
    "TANH": (96.0, 120.0),
}
_ANY: Final = (25.0, 70.0)
# A multiply-accumulate of int16 activations with int8 weights; SVDF and LSTM fall in with them.
_PER_MAC: Final[dict[KernelSet, float]] = {
    KernelSet.CMSIS_C: 9.0,
    KernelSet.CMSIS_DSP: 3.2,
    KernelSet.CMSIS_MVE: 0.8,
}
_PER_MAC_REFERENCE: Final = 8.5
_PER_MAC_FLOAT: Final = 5.5
_PER_OUTPUT: Final = 90.0
# One unit of an LSTM in one step besides its products: five activations, products, sums.
_LSTM_UNIT: Final = {True: 625.0, False: 1170.0}
_FLOATING: Final = ("FLOAT32", "FLOAT16")


def unseen_instructions(
    graph: Subgraph, operator: Operator, kernels: KernelSet, *, soft_float: bool
) -> float:
    """About how many instructions an operator takes that no build was counted for.

    Args:
        graph: The operator's subgraph.
        operator: The operator.
        kernels: Kernel set of the build that stands for the target.
        soft_float: The core is an Armv6-M one, without an FPU.
    """
    tensors = _touched(graph, operator)
    elements = max((tensor.elements for tensor in tensors), default=0)
    floating = any(tensor.dtype in _FLOATING for tensor in tensors)
    factor = 1.0
    if soft_float:
        soft = _SOFT_TRANSCENDENTAL if operator.name in _TRANSCENDENTAL else _SOFT_FLOAT
        factor = soft if floating and operator.name not in _MOVING else _ARMV6M
    calls = _CALL * (_ARMV6M if soft_float else 1.0)
    macs = macs_of(graph, operator)
    if macs:
        return calls + factor * _products(graph, operator, kernels, macs, floating=floating)
    moving = _MOVING.get(operator.name)
    each = moving if moving is not None else _COMPUTING.get(operator.name, _ANY)[not floating]
    return calls + factor * each * elements


def _touched(graph: Subgraph, operator: Operator) -> list[Tensor]:
    """Tensors computed at run time that an operator reads or writes."""
    places = (*operator.inputs, *operator.outputs)
    tensors = (graph.tensors[index] for index in places if index >= 0)
    return [tensor for tensor in tensors if not tensor.is_constant]


def _products(
    graph: Subgraph, operator: Operator, kernels: KernelSet, macs: int, *, floating: bool
) -> float:
    output = graph.output(operator)
    outputs = output.elements if output is not None else 0
    optimised = kernels.is_cmsis and not floating
    each = _PER_MAC.get(kernels, _PER_MAC_REFERENCE) if optimised else _PER_MAC_REFERENCE
    if floating:
        each = _PER_MAC_FLOAT
    total = each * macs + _PER_OUTPUT * outputs
    recurrent = graph.input(operator, 6)
    if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM" and recurrent is not None:
        image = graph.input(operator, 0)
        steps = prod(image.shape[:-1]) if image is not None else 1
        total += _LSTM_UNIT[optimised] * steps * recurrent.shape[0]
    return total
