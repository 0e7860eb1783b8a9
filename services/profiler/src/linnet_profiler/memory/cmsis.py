"""What each operator takes from the arena with CMSIS-NN kernels.

Source: tflite-micro kernels/cmsis_nn/*.cc at 90b983c2 and CMSIS-NN's *_get_buffer_sizes_*.c at
4ab83cc3, built with gcc (armclang asks 4 bytes a channel more for some 1x1 convolutions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import AbiSizes
from linnet_profiler.memory.reference import (
    OperatorMemory,
    fully_connected_arrays,
    per_channel_arrays,
    reference_memory,
)
from linnet_profiler.tflite.geometry import Window, window_of
from linnet_profiler.tflite.model import Operator, Subgraph, Tensor

_MVE_CHANNEL_BLOCK: Final = 124
_DEPTHWISE_AS_CONV_CHANNELS: Final = 8
_REVERSE_TRANSPOSE_CHANNELS: Final = 16

# OpData where CMSIS-NN's kernel has its own, 32-bit.
_USER_DATA: Final[dict[str, int]] = {
    "CONV_2D": 60,
    "DEPTHWISE_CONV_2D": 60,
    "FULLY_CONNECTED": 72,
    "SOFTMAX": 64,
    "MAX_POOL_2D": 36,
    "AVERAGE_POOL_2D": 36,
    "ADD": 60,
    "MUL": 36,
    "PAD": 56,
    "PADV2": 56,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 912,
    "BATCH_MATMUL": 36,
    "TRANSPOSE_CONV": 76,
    "SVDF": 40,
}


def cmsis_memory(
    graph: Subgraph, operator: Operator, abi: AbiSizes, kernels: KernelSet
) -> OperatorMemory:
    """What CMSIS-NN's kernel of an operator takes; the reference kernel's where it has none."""
    memory = reference_memory(graph, operator, abi)
    memory = replace(memory, user_data_bytes=_USER_DATA.get(operator.name, memory.user_data_bytes))
    rule = _RULES.get(operator.name)
    return rule(graph, operator, kernels, memory) if rule else memory


def is_1x1(window: Window) -> bool:
    """True where CMSIS-NN skips im2col: 1x1 filter, no padding, one group."""
    return (
        window.taps == 1
        and window.height.pad == 0
        and window.width.pad == 0
        and window.height.dilation == 1
        and window.width.dilation == 1
        and window.channels_in == window.filter_channels
    )


def is_1xn(window: Window) -> bool:
    """True for CMSIS-NN's convolution along one axis, which only MVE has."""
    return (
        window.height.size == 1
        and window.height.kernel == 1
        and window.width.dilation == 1
        and window.height.pad == 0
        and window.width.stride * window.channels_in % 4 == 0
        and window.channels_in == window.filter_channels
    )


def convolution_buffer(window: Window, kernels: KernelSet, bits: int = 8) -> int:
    """Bytes that arm_convolve_wrapper asks for im2col."""
    depth = window.taps * window.channels_in
    if bits == 16:
        mve = kernels is KernelSet.CMSIS_MVE
        return 64 * -(-depth // 8) if mve else 4 * depth
    if is_1x1(window):
        return 0
    if kernels is not KernelSet.CMSIS_MVE:
        return 4 * (-(-depth // 4) * 4)
    if is_1xn(window):
        return _edge_columns_buffer(window)
    return 64 * -(-depth // 16)


def _edge_columns_buffer(window: Window) -> int:
    axis, channels = window.width, window.channels_in
    total_pad = (axis.out - 1) * axis.stride + axis.kernel - axis.size
    # C's remainder keeps the sign of its left operand.
    odd = total_pad % 2 if total_pad >= 0 else -(-total_pad % 2)
    right = max(1, (axis.pad + odd + axis.stride - 1) // axis.stride) if axis.pad + odd else 0
    left = max(1, (axis.pad + axis.stride - 1) // axis.stride) if axis.pad else 0
    middle = max(axis.out - (right + left), 0)
    if right + middle + left != axis.out:
        return 64 * -(-(axis.kernel * channels) // 16)
    left_bytes = axis.pad * channels
    right_bytes = right * channels if odd else left_bytes
    column = axis.kernel * channels
    return max(column + left_bytes, column - channels + right_bytes)


def depthwise_buffer(window: Window, kernels: KernelSet) -> int:
    """Bytes that arm_depthwise_conv_wrapper_s8 asks."""
    mve = kernels is KernelSet.CMSIS_MVE
    if mve and depthwise_runs_as_convolution(window):
        depth = window.taps
        return 64 * -(-depth // 16) + window.channels_out * window.taps
    if (
        window.channels_in != window.channels_out
        or window.batches != 1
        or window.height.dilation != 1
        or window.width.dilation != 1
    ):
        return 0
    if mve:
        return 4 * _MVE_CHANNEL_BLOCK * window.taps
    small = window.height.kernel == 3 and window.width.kernel == 3
    if small and window.height.pad <= 1 and window.width.pad <= 1:
        return 0
    return 2 * window.channels_in * window.taps if kernels is KernelSet.CMSIS_DSP else 0


def depthwise_runs_as_convolution(window: Window) -> bool:
    """True where MVE builds turn a depthwise layer of one input channel into a convolution."""
    return window.channels_in == 1 and window.channels_out > _DEPTHWISE_AS_CONV_CHANNELS


def _quantized(image: Tensor | None) -> bool:
    return image is not None and image.dtype in ("INT8", "INT16")


def _some(size: int) -> tuple[int, ...]:
    return (size,) if size > 0 else ()


def _convolution(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image, window = graph.input(operator, 0), window_of(graph, operator)
    if image is None or not _quantized(image) or window is None:
        return replace(memory, persistent=(), scratch=())
    size = convolution_buffer(window, kernels, image.element_bits)
    return replace(memory, scratch=_some(size))


def _depthwise(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image, window = graph.input(operator, 0), window_of(graph, operator)
    if image is None or not _quantized(image) or window is None:
        return replace(memory, persistent=(), scratch=())
    if image.dtype == "INT16":
        return replace(memory, scratch=_some(_depthwise_int16(window, kernels)))
    return replace(memory, scratch=_some(depthwise_buffer(window, kernels)))


def _depthwise_int16(window: Window, kernels: KernelSet) -> int:
    fast = (
        window.multiplier == 1
        and window.height.dilation == 1
        and window.width.dilation == 1
        and window.taps < 512
    )
    if not fast or kernels is KernelSet.CMSIS_C:
        return 0
    if kernels is KernelSet.CMSIS_MVE:
        return 4 * window.channels_in * window.taps * 2 + 8
    return window.channels_in * window.taps * 2


def _fully_connected(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image, weights, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or weights is None or output is None or not weights.shape:
        return memory
    persistent = fully_connected_arrays(graph, operator)
    scratch: tuple[int, ...] = ()
    if image.dtype == "INT8":
        depth, channels = weights.shape[-1], output.shape[-1] if output.shape else 1
        as_conv = len(output.shape) > 2 and depth % 4 == 0
        if as_conv and len(weights.scales) <= 1:
            persistent += per_channel_arrays(channels)
        if not as_conv and kernels is KernelSet.CMSIS_MVE:
            if weights.is_constant:
                persistent += (4 * channels,)
            else:
                scratch = _some(4 * channels)
    return replace(memory, persistent=persistent, scratch=scratch)


def _average_pool(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image = graph.input(operator, 0)
    if image is None or not _quantized(image) or kernels is not KernelSet.CMSIS_DSP:
        return memory
    return replace(memory, scratch=_some(4 * image.shape[-1]))


def _transpose_conv(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    weights, image = graph.input(operator, 1), graph.input(operator, 2)
    if weights is None or image is None or len(weights.shape) != 4 or len(image.shape) != 4:
        return memory
    if image.dtype != "INT8":
        return memory
    channels_out, kernel_h, kernel_w, channels_in = weights.shape
    stride_h, stride_w = operator.number("stride_h", 1), operator.number("stride_w", 1)
    if stride_h <= 2 and stride_w <= 2 and channels_in > _REVERSE_TRANSPOSE_CHANNELS:
        depth = kernel_h * kernel_w * channels_in
        mve = kernels is KernelSet.CMSIS_MVE
        im2col = 64 * -(-depth // 16) if mve else 4 * (-(-depth // 4) * 4)
        return replace(memory, scratch=(im2col, depth * channels_out))
    columns = (image.shape[2] - 1) * stride_w + max(kernel_w, stride_w)
    # The second request, for a reversed filter, is made even where it is of no size.
    return replace(memory, scratch=(4 * max(kernel_h, stride_h) * columns * channels_out, 0))


def _lstm(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image, cell = graph.input(operator, 0), graph.input(operator, 19)
    recurrent = graph.input(operator, 5)
    if image is None or cell is None or not _quantized(image) or recurrent is None:
        return memory
    state = recurrent.shape[0] if recurrent.shape else 0
    width = 8 if image.dtype == "INT16" else 4
    return replace(memory, persistent=(width * state,) * 8, scratch=(2 * cell.elements,) * 3)


def _svdf(
    graph: Subgraph, operator: Operator, kernels: KernelSet, memory: OperatorMemory
) -> OperatorMemory:
    image, features = graph.input(operator, 0), graph.input(operator, 1)
    if image is None or features is None or image.dtype != "INT8":
        return memory
    if kernels is KernelSet.CMSIS_MVE:
        return replace(memory, persistent=(4 * features.shape[0],))
    return memory


_RULES: Final[
    dict[str, Callable[[Subgraph, Operator, KernelSet, OperatorMemory], OperatorMemory]]
] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _average_pool,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "SVDF": _svdf,
}
