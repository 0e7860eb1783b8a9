"""Which parts of TFLM a set of operators links: the base, each kernel, and what kernels share.

Kernels share support code, so that their sizes don't add: what several of them link is a group of
its own, counted once. A part whose name ends in ":generic" is linked by generic registrations only
(the int16, int4 and float kernels that an INT8-only registration leaves out).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Operators that have a Register_*_INT8 in TFLM with CMSIS-NN.
INT8_REGISTRATIONS: Final = frozenset(
    {
        "ADD",
        "AVERAGE_POOL_2D",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MAX_POOL_2D",
        "SOFTMAX",
        "SVDF",
        "TRANSPOSE_CONV",
    }
)

_QUANTIZED: Final = frozenset(
    {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DIV",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MEAN",
        "MUL",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "SOFTMAX",
        "SQUARED_DIFFERENCE",
        "SUB",
        "SUM",
        "SVDF",
        "TANH",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BATCH_MATMUL",
        "ELU",
    }
)
_MATRIX: Final = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"}
)
_WINDOWED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_POOLS: Final = frozenset({"MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"})
_COMPARING: Final = frozenset({"MAXIMUM", "MINIMUM", "RELU", "RELU6", "MAX_POOL_2D"})
_DENSE: Final = frozenset({"FULLY_CONNECTED", "SVDF"})
# Group -> operators of which any links it.
GROUPS: Final[dict[str, frozenset[str]]] = {
    "quantization": _QUANTIZED,
    # Transposed convolutions prepare themselves: a build with MVE shows it best.
    "convolution support": frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"}),
    "convolution and transpose": frozenset({"CONV_2D", "TRANSPOSE_CONV"}),
    "matrix products": _MATRIX,
    "convolution and dense": frozenset({"CONV_2D", "FULLY_CONNECTED"}),
    "dense and filters": _DENSE,
    "weighted layers": _WINDOWED | _DENSE,
    "per-channel scaling": _WINDOWED | {"FULLY_CONNECTED"},
    "saturating products": _WINDOWED | _DENSE | {"ADD", "SOFTMAX"},
    "64-bit products": frozenset({"FULLY_CONNECTED", "SOFTMAX", "CONV_2D", "DEPTHWISE_CONV_2D"}),
    "softmax and dense": frozenset({"SOFTMAX", "FULLY_CONNECTED"}),
    "pooling": _POOLS,
    "exponentials": frozenset({"SOFTMAX", "LOGISTIC", "TANH", "ELU", "EXP", "LOG_SOFTMAX"}),
    "float exponential": frozenset({"SOFTMAX", "LOGISTIC", "ELU", "EXP"}),
    "sigmoid and tanh": frozenset({"LOGISTIC", "TANH", "UNIDIRECTIONAL_SEQUENCE_LSTM"}),
    "elementwise": frozenset(
        {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"}
    ),
    "add and subtract": frozenset({"ADD", "SUB"}),
    "maximum and minimum": frozenset({"MAXIMUM", "MINIMUM"}),
    "integer division": _WINDOWED | _POOLS | {"STRIDED_SLICE", "MEAN", "SPLIT"},
    "reductions": frozenset({"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}),
    "quantize and dequantize": frozenset({"QUANTIZE", "DEQUANTIZE"}),
    "copies": frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CONCATENATION", "PACK"}),
    "float comparison": _QUANTIZED | _POOLS | _COMPARING,
    "float arithmetic": (_QUANTIZED - {"RELU"}) | {"AVERAGE_POOL_2D", "DEQUANTIZE"},
}


def parts_of(operators: Iterable[str], *, int8_only: bool) -> dict[str, str]:
    """The parts a firmware links.

    Args:
        operators: Builtin operator names that the resolver registers.
        int8_only: Register the INT8-only kernels where TFLM has them.

    Returns:
        Part -> kind: "runtime", "kernel" or "shared".
    """
    names = frozenset(operators)
    parts = {"runtime": "runtime"}
    for name in sorted(names):
        parts[name] = "kernel"
        if not (int8_only and name in INT8_REGISTRATIONS):
            parts[f"{name}:generic"] = "kernel"
    for group, members in GROUPS.items():
        used = members & names
        if not used:
            continue
        parts[group] = "shared"
        if not (int8_only and used <= INT8_REGISTRATIONS):
            parts[f"{group}:generic"] = "shared"
    return parts
