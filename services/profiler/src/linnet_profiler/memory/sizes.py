"""Sizes of TFLM's per-operator structs: builtin data that parsing allocates, OpData that Init does.

Source: sizeof() at tflite-micro 90b983c2, measured by compiling where a build exists, else read;
the wheel's column is the PyPI wheel tflite_micro 0.dev20261023182759.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_profiler.memory.abi import AbiSizes


@dataclass(frozen=True, slots=True)
class BuiltinData:
    """A struct that parsing an operator allocates, as (bytes, align).

    Attributes:
        short_enums: On Arm.
        int_enums: On ABIs whose enums take 4 bytes.
        wide: With pointers of 8 bytes; as `int_enums` where None.
        wheel: In the PyPI wheel; as `wide` where None.
    """

    short_enums: tuple[int, int]
    int_enums: tuple[int, int]
    wide: tuple[int, int] | None = None
    wheel: tuple[int, int] | None = None

    def on(self, abi: AbiSizes, *, wheel: bool = False) -> tuple[int, int]:
        """Bytes and alignment on an ABI."""
        if not abi.int_enums:
            return self.short_enums
        wide = (self.wide or self.int_enums) if abi.is_64_bit else self.int_enums
        return (self.wheel or wide) if wheel else wide


_POOL: Final = BuiltinData((40, 4), (40, 4))
_REDUCER: Final = BuiltinData((1, 1), (1, 1))
BUILTIN_DATA: Final[dict[str, BuiltinData]] = {
    "CONV_2D": BuiltinData((28, 4), (28, 4)),
    "DEPTHWISE_CONV_2D": BuiltinData((28, 4), (28, 4)),
    "FULLY_CONNECTED": BuiltinData((5, 1), (16, 4), wheel=(32, 8)),
    "SOFTMAX": BuiltinData((4, 4), (4, 4)),
    "MAX_POOL_2D": _POOL,
    "AVERAGE_POOL_2D": _POOL,
    "L2_POOL_2D": _POOL,
    "MEAN": _REDUCER,
    "SUM": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_MIN": _REDUCER,
    "REDUCE_ALL": _REDUCER,
    "ADD": BuiltinData((2, 1), (8, 4)),
    "SUB": BuiltinData((2, 1), (8, 4)),
    "MUL": BuiltinData((1, 1), (4, 4)),
    "DIV": BuiltinData((1, 1), (4, 4)),
    "RESHAPE": BuiltinData((36, 4), (36, 4)),
    "SQUEEZE": BuiltinData((36, 4), (36, 4)),
    "CONCATENATION": BuiltinData((8, 4), (8, 4)),
    "MIRROR_PAD": BuiltinData((1, 1), (4, 4)),
    "STRIDED_SLICE": BuiltinData((24, 4), (24, 4)),
    "LEAKY_RELU": BuiltinData((4, 4), (4, 4)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": BuiltinData((16, 4), (16, 4)),
    "BATCH_MATMUL": BuiltinData((3, 1), (3, 1)),
    "TRANSPOSE_CONV": BuiltinData((16, 4), (20, 4)),
    "SVDF": BuiltinData((8, 4), (12, 4)),
    "PACK": BuiltinData((8, 4), (8, 4)),
    "UNPACK": BuiltinData((8, 4), (8, 4)),
    "GATHER": BuiltinData((8, 4), (8, 4)),
    "SPLIT": BuiltinData((4, 4), (4, 4)),
    "SPLIT_V": BuiltinData((4, 4), (4, 4)),
    "SHAPE": BuiltinData((1, 1), (4, 4)),
    "RESIZE_BILINEAR": BuiltinData((2, 1), (2, 1)),
    "RESIZE_NEAREST_NEIGHBOR": BuiltinData((2, 1), (2, 1)),
    "CAST": BuiltinData((2, 1), (8, 4)),
    "ARG_MAX": BuiltinData((1, 1), (4, 4)),
    "ARG_MIN": BuiltinData((1, 1), (4, 4)),
    "CUMSUM": BuiltinData((2, 1), (2, 1)),
    "DEPTH_TO_SPACE": BuiltinData((4, 4), (4, 4)),
    "SPACE_TO_DEPTH": BuiltinData((4, 4), (4, 4)),
    "L2_NORMALIZATION": BuiltinData((1, 1), (4, 4)),
    "IF": BuiltinData((8, 4), (8, 4)),
    "WHILE": BuiltinData((8, 4), (8, 4)),
    "CALL_ONCE": BuiltinData((4, 4), (4, 4)),
    "VAR_HANDLE": BuiltinData((8, 4), (8, 4), wide=(16, 8)),
}

# user_data of the reference kernels: operator -> (32-bit, 64-bit, PyPI wheel).
USER_DATA: Final[dict[str, tuple[int, int, int]]] = {
    "CONV_2D": (56, 72, 80),
    "DEPTHWISE_CONV_2D": (56, 72, 80),
    "FULLY_CONNECTED": (48, 64, 72),
    "SOFTMAX": (56, 80, 80),
    "MAX_POOL_2D": (32, 32, 32),
    "AVERAGE_POOL_2D": (32, 32, 32),
    "L2_POOL_2D": (32, 32, 32),
    "MEAN": (44, 44, 44),
    "SUM": (44, 44, 44),
    "REDUCE_MAX": (44, 44, 44),
    "REDUCE_MIN": (44, 44, 44),
    "REDUCE_ALL": (44, 44, 44),
    "ADD": (60, 60, 60),
    "SUB": (52, 52, 52),
    "MUL": (36, 36, 36),
    "DIV": (28, 28, 28),
    "CONCATENATION": (24, 40, 80),
    "QUANTIZE": (32, 32, 32),
    "DEQUANTIZE": (32, 32, 32),
    "PAD": (56, 56, 56),
    "PADV2": (56, 56, 56),
    "MIRROR_PAD": (20, 20, 20),
    "STRIDED_SLICE": (84, 84, 84),
    "LOGISTIC": (16, 16, 16),
    "TANH": (16, 16, 16),
    "HARD_SWISH": (20, 20, 20),
    "LEAKY_RELU": (24, 24, 24),
    "RELU": (28, 28, 28),
    "RELU6": (8, 8, 8),
    "PRELU": (28, 28, 28),
    "ELU": (256, 256, 256),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (688, 688, 688),
    "BATCH_MATMUL": (16, 32, 32),
    "TRANSPOSE_CONV": (72, 80, 88),
    "SVDF": (36, 36, 36),
    "SQUARED_DIFFERENCE": (112, 112, 112),
    "ADD_N": (40, 40, 40),
    "ABS": (28, 28, 28),
    "RSQRT": (28, 28, 28),
    "LOG_SOFTMAX": (28, 40, 40),
    "CUMSUM": (36, 36, 36),
    "SELECT_V2": (2, 2, 2),
    "SPACE_TO_BATCH_ND": (4, 4, 4),
    "IF": (8, 8, 8),
    "WHILE": (8, 8, 8),
    "CALL_ONCE": (8, 8, 8),
    "VAR_HANDLE": (4, 4, 4),
    "ASSIGN_VARIABLE": (0, 0, 4),
    "LESS": (32, 32, 32),
    "LESS_EQUAL": (32, 32, 32),
    "GREATER": (32, 32, 32),
    "GREATER_EQUAL": (32, 32, 32),
    "EQUAL": (32, 32, 32),
    "NOT_EQUAL": (32, 32, 32),
}

# Kernels that keep OpData for integer tensors only.
QUANTIZED_DATA_ONLY: Final = frozenset({"ADD_N", "CUMSUM", "LOG_SOFTMAX"})
