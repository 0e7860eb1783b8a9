"""Operators TFLite Micro lacks, and what to do about each.

Source: 81 one-operator graphs converted by TensorFlow 2.21 and run on the wheel tflite_micro
0.dev20261023182759 (commit 8f6596d), the resolver's list of registered operators, and the same
graphs with their tensors' types changed to INT16 and UINT8, run on the wheel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_profiler.tflite.model import Model, Operator, Subgraph

# Operators with a registration in MicroMutableOpResolver.
SUPPORTED: Final = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
    BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM
    DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP
    EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND
    GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
    LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM
    MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL
    REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2
    ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V
    SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
    TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """.split()  # noqa: SIM905 - one name a line would take a hundred lines
)

_REMEDIES: Final[dict[str, str]] = {
    "GELU": "use ReLU, ReLU6 or hard swish",
    "TILE": "use CONCATENATION of the tensor with itself, or let broadcasting do it",
    "SELECT": "tf.where and SELU emit it: broadcast in tf.where (SELECT_V2), or use ELU",
    "POW": "multiply the tensor by itself, or use SQUARE or SQRT",
    "TOPK_V2": "return the scores and pick the best outside the model; ARG_MAX finds the first",
    "ONE_HOT": "encode outside the model",
    "RELU_N1_TO_1": "use ReLU6, or MINIMUM and MAXIMUM",
    "SIGN": "compare with zero and cast",
    "REDUCE_ANY": "use REDUCE_MAX on 0 and 1",
    "REDUCE_PROD": "multiply slice by slice",
    "CONV_3D": "use 2-D convolutions over stacked channels",
    "LOCAL_RESPONSE_NORMALIZATION": "use batch normalisation: it folds into the convolution",
    "RFFT2D": "compute the spectrum before the model, as a feature",
    "COMPLEX_ABS": "compute the spectrum before the model, as a feature",
    "LSTM": "convert with fixed [1, time, features]: one UNIDIRECTIONAL_SEQUENCE_LSTM results",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "use one direction, or two UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "use an LSTM or a 1-D convolution",
    "CUSTOM": "Flex operators need full TensorFlow: rewrite the layer with TFLite builtins",
}
_FLOAT_ONLY: Final[dict[str, str]] = {
    "EXP": "keep it in float32, or fold it into SOFTMAX or LOGISTIC",
    "LOG": "keep it in float32: it fails at the first inference in int8",
    "SQRT": "keep it in float32: it fails at the first inference in int8",
    **dict.fromkeys(
        ("SIN", "COS", "SQUARE", "FLOOR", "CEIL", "ROUND", "FLOOR_DIV", "FLOOR_MOD"),
        "keep it in float32, between DEQUANTIZE and QUANTIZE",
    ),
}
_NO_INT16: Final = frozenset(
    """
    ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND CUMSUM DEPTH_TO_SPACE DIV ELU GATHER GATHER_ND
    HARD_SWISH L2_NORMALIZATION LESS LOG_SOFTMAX MIRROR_PAD PRELU REDUCE_MAX REDUCE_MIN
    RESIZE_BILINEAR SPACE_TO_BATCH_ND SPACE_TO_DEPTH
    """.split()  # noqa: SIM905 - as above
)
# Kernels that take UINT8: those that only look at bytes, and the two that leave it behind.
_UINT8: Final = frozenset(
    {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE"}
)
_DEFAULT_REMEDY: Final = "replace the layer by one that converts to supported operators"
# Custom operators that TFLM itself registers.
_KNOWN_CUSTOM: Final = frozenset(
    """
    TFLite_Detection_PostProcess CIRCULAR_BUFFER ethos-u TFLM_DECODE SignalDelay SignalEnergy
    SignalFftAutoScale SignalFilterBank SignalFilterBankLog SignalFilterBankSpectralSubtraction
    SignalFilterBankSquareRoot SignalFramer SignalIrfft SignalOverlapAdd SignalPCAN SignalRfft
    SignalStacker SignalWindow
    """.split()  # noqa: SIM905 - as above
)


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An operator that won't run.

    Attributes:
        subgraph: Its subgraph.
        operator: Its place there.
        name: Builtin name, or the custom code.
        problem: What is wrong.
        remedy: The nearest way round.
    """

    subgraph: int
    operator: int
    name: str
    problem: str
    remedy: str


def unsupported_operators(model: Model) -> tuple[Unsupported, ...]:
    """Every operator of a model that TFLite Micro lacks, in order."""
    return tuple(
        finding
        for graph in model.subgraphs
        for operator in graph.operators
        for finding in [_check(graph, operator)]
        if finding is not None
    )


def _check(graph: Subgraph, operator: Operator) -> Unsupported | None:
    name = operator.custom_code or operator.name
    if operator.name == "CUSTOM" and operator.custom_code in _KNOWN_CUSTOM:
        return None
    found = _wrong(graph, operator)
    if operator.name not in SUPPORTED:
        remedy = _REMEDIES.get(operator.name, _DEFAULT_REMEDY)
        found = ("TFLite Micro has no such operator", remedy)
    if found is None:
        return None
    return Unsupported(graph.index, operator.index, name, *found)


def _wrong(graph: Subgraph, operator: Operator) -> tuple[str, str] | None:
    """What is wrong with the types of an operator that TFLM has, and the remedy."""
    place = 1 if operator.name == "SPLIT" else 0
    image, weights = graph.input(operator, place), graph.input(operator, 1)
    dtype = image.dtype if image is not None else ""
    missing = f"TFLite Micro has no {dtype} form"
    if operator.name in _FLOAT_ONLY and dtype in ("INT8", "INT16"):
        return missing, _FLOAT_ONLY[operator.name]
    if dtype == "INT16" and operator.name in _NO_INT16:
        return missing, "quantize to int8, or leave this operator in float32"
    if dtype == "UINT8" and operator.name not in _UINT8:
        return missing, "convert again with the int8 scheme"
    if dtype in ("FLOAT16", "BFLOAT16", "FLOAT64"):
        return missing, "convert without float16 weights: as float32, or fully quantized"
    weighted = operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    if weighted and weights is not None and dtype == "FLOAT32" and weights.dtype != "FLOAT32":
        return (
            "hybrid (dynamic-range) quantization isn't supported",
            "quantize fully with a representative dataset, or keep float32",
        )
    return None


def replayed(model: Model) -> bool:
    """True where what every operator takes from the arena is known: no custom code among them."""
    return all(op.name in SUPPORTED for graph in model.subgraphs for op in graph.operators)
