"""What each operator takes from the arena while TFLM prepares it: reference kernels.

Sizes are sizeof() of the kernels' structs (see `abi`), read from or measured on tflite-micro
90b983c2; the order of the requests is the order in the kernels' Prepare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from linnet_profiler.memory.abi import AbiSizes
from linnet_profiler.memory.sizes import QUANTIZED_DATA_ONLY, USER_DATA
from linnet_profiler.tflite.model import Operator, Subgraph


@dataclass(frozen=True, slots=True)
class OperatorMemory:
    """What one operator asks of the arena.

    Attributes:
        user_data_bytes: OpData that Init allocates, 0 where it allocates none.
        persistent: Sizes of the buffers that Prepare allocates in the tail, in order.
        scratch: Sizes of the buffers shared over time that Prepare requests, in order.
        temporary: Tensors that Prepare holds as TfLiteTensor at once, repeats counted.
    """

    user_data_bytes: int
    persistent: tuple[int, ...] = ()
    scratch: tuple[int, ...] = ()
    temporary: tuple[int, ...] = ()


INTEGER_TYPES: Final = ("INT8", "INT16", "UINT8")


def tensors_of(graph: Subgraph, operator: Operator) -> tuple[int, ...]:
    """All inputs present and all outputs of an operator."""
    return tuple(index for index in operator.inputs if index >= 0) + operator.outputs


def user_data_bytes(name: str, abi: AbiSizes, *, wheel: bool = False) -> int:
    """OpData of the reference kernel, 0 where it has none."""
    sizes = USER_DATA.get(name, (0, 0, 0))
    return sizes[2] if wheel else sizes[1] if abi.is_64_bit else sizes[0]


def reference_memory(
    graph: Subgraph, operator: Operator, abi: AbiSizes, *, wheel: bool = False
) -> OperatorMemory:
    """What the reference kernel of an operator takes."""
    rule = _RULES.get(operator.name)
    persistent, scratch = rule(graph, operator, abi) if rule else ((), ())
    image = graph.input(operator, 0)
    floating = image is not None and image.dtype == "FLOAT32"
    plain = floating and operator.name in QUANTIZED_DATA_ONLY
    return OperatorMemory(
        user_data_bytes=0 if plain else user_data_bytes(operator.name, abi, wheel=wheel),
        persistent=persistent,
        scratch=scratch,
        temporary=temporary_tensors(graph, operator),
    )


def temporary_tensors(graph: Subgraph, operator: Operator) -> tuple[int, ...]:
    """Tensors that Prepare looks at as TfLiteTensor before it gives them all back.

    The convolutions look at input, filter and output once for shapes, then at all for quantization.
    """
    tensors = tensors_of(graph, operator)
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return tuple(index for index in operator.inputs[:2] if index >= 0) + (
            operator.outputs + tensors
        )
    if operator.name == "TRANSPOSE_CONV":
        return tuple(index for index in operator.inputs[1:3] if index >= 0) + (
            operator.outputs + tensors
        )
    return tensors


_Sizes = tuple[tuple[int, ...], tuple[int, ...]]


def per_channel_arrays(channels: int) -> tuple[int, int]:
    """Multiplier and shift of each output channel, 4 bytes each."""
    return (4 * channels, 4 * channels)


def _convolution(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    weights = graph.input(operator, 1)
    if weights is None or len(weights.shape) != 4:
        return (), ()
    channels = weights.shape[3] if operator.name == "DEPTHWISE_CONV_2D" else weights.shape[0]
    scratch = (weights.elements,) if weights.dtype == "INT4" else ()
    return per_channel_arrays(channels), scratch


def fully_connected_arrays(graph: Subgraph, operator: Operator) -> tuple[int, ...]:
    """Per-channel arrays of a dense layer: only where its weights have several scales."""
    image, weights = graph.input(operator, 0), graph.input(operator, 1)
    if image is None or weights is None or image.dtype not in INTEGER_TYPES:
        return ()
    return per_channel_arrays(len(weights.scales)) if len(weights.scales) > 1 else ()


def _fully_connected(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    weights = graph.input(operator, 1)
    scratch = (weights.elements,) if weights is not None and weights.dtype == "INT4" else ()
    return fully_connected_arrays(graph, operator), scratch


def softmax_tables(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    """The two lookup tables of an int16 softmax, 513 int16 each."""
    image = graph.input(operator, 0)
    return ((1026, 1026), ()) if image is not None and image.dtype == "INT16" else ((), ())


def _mean(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    image, axes, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or axes is None or output is None:
        return (), ()
    scratch: tuple[int, ...] = (4 * len(image.shape), 4 * max(1, axes.elements))
    if image.dtype in INTEGER_TYPES:
        scratch += (4 * output.elements,)
    return (), scratch


def _reduce_extreme(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    image, axes = graph.input(operator, 0), graph.input(operator, 1)
    if image is None or axes is None:
        return (), ()
    return (), (4 * len(image.shape), 4 * max(1, axes.elements))


def _lstm(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    cell = lstm_cell_bytes(graph, operator)
    return (), (cell,) * 4


def lstm_cell_bytes(graph: Subgraph, operator: Operator) -> int:
    """Bytes of one gate's buffer: batch x state x the cell type's width."""
    state = graph.input(operator, 19)
    return 0 if state is None else state.size_bytes


def svdf_scratch(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    """Scratch of SVDF: activations of the filters, and for int8 the output before scaling."""
    image, features, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or features is None or output is None:
        return (), ()
    batches = image.shape[0] if image.shape else 1
    filters = features.shape[0] if features.shape else 0
    scratch: tuple[int, ...] = (4 * batches * filters,)
    if image.dtype in INTEGER_TYPES:
        scratch += (4 * output.elements,)
    return (), scratch


def _transpose_conv(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    weights, output = graph.input(operator, 1), graph.output(operator)
    image = graph.input(operator, 2)
    if weights is None or output is None or image is None or not weights.shape:
        return (), ()
    scratch: tuple[int, ...] = ()
    if image.dtype == "INT8":
        scratch = (4 * output.elements,)
    elif image.dtype == "INT16":
        scratch = (8 * output.elements,)
    return per_channel_arrays(weights.shape[0]), scratch


def batch_matmul_buffers(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    """Quantization parameters and the transposed copies of a matrix product's operands."""
    lhs, rhs = graph.input(operator, 0), graph.input(operator, 1)
    output = graph.output(operator)
    if lhs is None or rhs is None or output is None:
        return (), ()
    persistent: tuple[int, ...] = ()
    if operator.options.get("adj_x"):
        persistent += (abi.eval_tensor, 4 + 4 * len(lhs.shape), lhs.size_bytes)
    if not operator.options.get("adj_y"):
        persistent += (abi.eval_tensor, 4 + 4 * len(rhs.shape), rhs.size_bytes)
    persistent += (4 + 4 * len(output.shape),)
    return persistent + ((28,) if lhs.dtype in INTEGER_TYPES else ()), ()


def _writable_dims(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    """Dimensions that a kernel copies so that it may set them: CreateWritableTensorDimsWithCopy."""
    output = graph.output(operator)
    return ((4 + 4 * len(output.shape),) if output is not None else ()), ()


def _add_n(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    return (), (abi.pointer * len(operator.inputs),)


def _mirror_pad(graph: Subgraph, operator: Operator, abi: AbiSizes) -> _Sizes:
    image = graph.input(operator, 0)
    return (), (4 * len(image.shape), 4 * len(image.shape)) if image is not None else ()


_RULES: Final[dict[str, Callable[[Subgraph, Operator, AbiSizes], _Sizes]]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "SOFTMAX": softmax_tables,
    "MEAN": _mean,
    "SUM": _mean,
    "REDUCE_MAX": _reduce_extreme,
    "REDUCE_MIN": _reduce_extreme,
    "REDUCE_ALL": _reduce_extreme,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "SVDF": svdf_scratch,
    "TRANSPOSE_CONV": _transpose_conv,
    "BATCH_MATMUL": batch_matmul_buffers,
    "ADD_N": _add_n,
    "DEPTH_TO_SPACE": _writable_dims,
    "GATHER": _writable_dims,
    "GATHER_ND": _writable_dims,
    "SPACE_TO_DEPTH": _writable_dims,
    "MIRROR_PAD": _mirror_pad,
}
