"""What convolutions, dense layers and pools count: loop trips of the kernels' source.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/ConvolutionFunctions/** and
Source/NNSupportFunctions/**.
"""

from __future__ import annotations

from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Operator, Subgraph
from linnet_profiler.op_memory_cmsis import (
    depthwise_runs_as_convolution,
    is_1x1,
    is_1xn,
)
from linnet_profiler.op_shapes import Axis, Window, window_of

Terms = dict[str, float]

_MVE_CHANNEL_BLOCK: Final = 124


def blocks(value: int, size: int) -> int:
    """Blocks of size that cover value."""
    return -(-value // size)


def convolution_terms(
    graph: Subgraph, operator: Operator, kernels: KernelSet
) -> tuple[str, Terms] | None:
    """Path and terms of CONV_2D and DEPTHWISE_CONV_2D."""
    window, image = window_of(graph, operator), graph.input(operator, 0)
    if window is None or image is None:
        return None
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return _reference_depthwise(window) if depthwise else _reference_convolution(window)
    if depthwise:
        return _cmsis_depthwise(window, kernels)
    if is_1x1(window):
        return _cmsis_pointwise(window, kernels)
    if kernels is KernelSet.CMSIS_MVE:
        return _mve_row(window) if _runs_1xn(window) else _mve_convolution(window)
    return _cmsis_convolution(window)


def _reference_convolution(window: Window) -> tuple[str, Terms]:
    outputs = window.positions * window.channels_out
    valid = window.valid_taps * window.channels_out
    return "reference", {
        "macs": valid * window.filter_channels,
        "valid_taps": valid,
        "outside_taps": outputs * window.taps - valid,
        "kernel_rows": outputs * window.height.kernel,
        "outputs": outputs,
        "positions": window.positions,
        "calls": 1,
    }


def _reference_depthwise(window: Window) -> tuple[str, Terms]:
    outputs = window.positions * window.channels_out
    valid = window.valid_taps * window.channels_out
    return "reference", {
        "valid_taps": valid,
        "outside_taps": outputs * window.taps - valid,
        "kernel_rows": outputs * window.height.kernel,
        "outputs": outputs,
        "channel_loops": window.positions * window.channels_in,
        "positions": window.positions,
        "calls": 1,
    }


def _columns(window: Window, length: int) -> Terms:
    """Terms of copying `length` channels of every tap of every output into columns."""
    taps = window.valid_taps
    outside = window.positions * window.taps - taps
    return {
        "copied_taps": taps,
        "copied_blocks": taps * (length // 4),
        "copied_rest": taps * (length % 4),
        "outside_taps": outside,
        "outside_channels": outside * length,
        "kernel_rows": window.positions * window.height.kernel,
    }


def _cmsis_convolution(window: Window) -> tuple[str, Terms]:
    depth, channels = window.taps * window.filter_channels, window.channels_out
    pairs, single = divmod(window.positions, 2)
    rows, odd = divmod(channels, 2)
    return "im2col", {
        "pair_blocks": pairs * rows * (depth // 4),
        "pair_rest": pairs * rows * (depth % 4),
        "pair_outputs": pairs * rows,
        "odd_blocks": pairs * odd * (depth // 4),
        "odd_rest": pairs * odd * (depth % 4),
        "odd_outputs": pairs * odd,
        "pairs": pairs,
        "single_blocks": single * channels * (depth // 4),
        "single_rest": single * channels * (depth % 4),
        "single_outputs": single * channels,
        **_columns(window, window.channels_in),
        "positions": window.positions,
        "calls": 1,
    }


def _cmsis_pointwise(window: Window, kernels: KernelSet) -> tuple[str, Terms]:
    depth, channels = window.channels_in, window.channels_out
    strided = window.height.stride != 1 or window.width.stride != 1
    if strided:
        # arm_convolve_1x1_s8 calls the matrix product once for each output row.
        calls, rows = window.batches * window.height.out, window.width.out
    else:
        calls, rows = 1, window.positions
    if kernels is KernelSet.CMSIS_MVE:
        terms = _mve_matrix(rows, channels, depth, calls)
    else:
        terms = matrix_terms(rows, channels, depth, calls)
    path = "1x1_strided" if strided else "1x1"
    return path, {**terms, "calls": 1}


def matrix_terms(rows: int, channels: int, depth: int, calls: int) -> Terms:
    """Terms of arm_nn_mat_mult_nt_t_s8 without MVE: two channels by two rows at a time."""
    pairs, odd = divmod(channels, 2)
    twos, single = divmod(rows, 2)
    wide, rest = divmod(depth, 16)
    return {
        "quad_wide": calls * pairs * twos * wide,
        "quad_blocks": calls * pairs * twos * (rest // 4),
        "quad_rest": calls * pairs * twos * (depth % 4),
        "quad_outputs": calls * pairs * twos,
        "single_wide": calls * pairs * single * wide,
        "single_blocks": calls * pairs * single * (rest // 4),
        "single_rest": calls * pairs * single * (depth % 4),
        "single_outputs": calls * pairs * single,
        "odd_macs": calls * odd * rows * depth,
        "odd_outputs": calls * odd * rows,
        "sums": calls * pairs * depth,
        "pairs": calls * pairs,
        "products": calls,
    }


def _mve_matrix(rows: int, channels: int, depth: int, calls: int) -> Terms:
    fours, left = divmod(rows, 4)
    deep = blocks(depth, 16)
    return {
        "four_blocks": calls * fours * channels * deep,
        "four_outputs": calls * fours * channels,
        "fours": calls * fours,
        "left_blocks": calls * left * channels * deep,
        "left_outputs": calls * left * channels,
        "left_groups": calls * left * (channels // 4),
        "left_tail": calls * left * (1 if channels % 4 else 0),
        "left": calls * left,
        "products": calls,
    }


def _mve_convolution(window: Window) -> tuple[str, Terms]:
    depth = window.taps * window.filter_channels
    positions = window.positions // max(1, window.batches)
    terms = _mve_matrix(positions, window.channels_out, depth, window.batches)
    taps = window.valid_taps
    outside = window.positions * window.taps - taps
    return "im2col", {
        **terms,
        "copied_taps": taps,
        "copied_blocks": taps * blocks(window.channels_in, 16),
        "outside_taps": outside,
        "outside_blocks": outside * blocks(window.channels_in, 16),
        "kernel_rows": window.positions * window.height.kernel,
        "positions": window.positions,
        "calls": 1,
    }


def _runs_1xn(window: Window) -> bool:
    left, middle, right = _edge_columns(window.width)
    return is_1xn(window) and left + middle + right == window.width.out


def _edge_columns(axis: Axis) -> tuple[int, int, int]:
    total_pad = (axis.out - 1) * axis.stride + axis.kernel - axis.size
    odd = total_pad % 2 if total_pad >= 0 else -(-total_pad % 2)
    right = max(1, (axis.pad + odd + axis.stride - 1) // axis.stride) if axis.pad + odd else 0
    left = max(1, (axis.pad + axis.stride - 1) // axis.stride) if axis.pad else 0
    return left, max(axis.out - left - right, 0), right


def _mve_row(window: Window) -> tuple[str, Terms]:
    axis, channels, depth = window.width, window.channels_out, window.filter_channels
    left, middle, right = _edge_columns(axis)
    full = blocks(axis.kernel * depth, 16)
    fours, rest = divmod(middle, 4)
    edges = left + right
    return "1xn", {
        "edge_blocks": edges * channels * full,
        "edge_outputs": edges * channels,
        "edge_copied": edges * full,
        "edges": edges,
        "four_blocks": fours * channels * full,
        "four_outputs": fours * channels,
        "fours": fours,
        "left_blocks": rest * channels * full,
        "left_outputs": rest * channels,
        "left_groups": rest * (channels // 4),
        "left_tail": rest * (1 if channels % 4 else 0),
        "left": rest,
        "calls": 1,
    }


def _cmsis_depthwise(window: Window, kernels: KernelSet) -> tuple[str, Terms]:
    if kernels is KernelSet.CMSIS_MVE and depthwise_runs_as_convolution(window):
        return "as_conv", _mve_convolution(window)[1]
    plain = (
        window.channels_in == window.channels_out
        and window.batches == 1
        and window.height.dilation == 1
        and window.width.dilation == 1
    )
    if not plain:
        return _generic_depthwise(window)
    if kernels is KernelSet.CMSIS_MVE:
        return _mve_depthwise(window)
    three = window.height.kernel == 3 and window.width.kernel == 3
    if three and window.height.pad <= 1 and window.width.pad <= 1:
        return _depthwise_3x3(window)
    return _depthwise_columns(window, kernels)


def _depthwise_3x3(window: Window) -> tuple[str, Terms]:
    fours, rest = divmod(window.channels_in, 4)
    taps, positions = window.valid_taps, window.positions
    rows = window.height.valid_taps() * window.width.out
    return "3x3", {
        "four_taps": taps * fours,
        "four_rows": rows * fours,
        "four_outputs": positions * fours,
        "rest_taps": taps * rest,
        "rest_rows": rows * rest,
        "rest_outputs": positions * rest,
        "positions": positions,
        "calls": 1,
    }


def _depthwise_columns(window: Window, kernels: KernelSet) -> tuple[str, Terms]:
    if kernels is KernelSet.CMSIS_C:
        return _generic_depthwise(window)
    fours, rest = divmod(window.channels_in, 4)
    positions = window.positions
    return "opt", {
        "four_pairs": positions * fours * (window.taps // 2),
        "four_odd": positions * fours * (window.taps % 2),
        "four_outputs": positions * fours,
        "rest_taps": positions * rest * window.taps,
        "rest_outputs": positions * rest,
        **_columns(window, window.channels_in),
        "positions": positions,
        "calls": 1,
    }


def _mve_depthwise(window: Window) -> tuple[str, Terms]:
    fours, left = divmod(window.positions, 4)
    clean = _clean_fours(window)
    groups = sum(
        blocks(min(_MVE_CHANNEL_BLOCK, window.channels_in - start), 4)
        for start in range(0, window.channels_in, _MVE_CHANNEL_BLOCK)
    )
    slices = blocks(window.channels_in, _MVE_CHANNEL_BLOCK)
    copies = sum(
        blocks(min(_MVE_CHANNEL_BLOCK, window.channels_in - start), 16)
        for start in range(0, window.channels_in, _MVE_CHANNEL_BLOCK)
    )
    taps = window.valid_taps
    outside = window.positions * window.taps - taps
    return "mve", {
        "clean_taps": clean * groups * window.taps,
        "clean_groups": clean * groups,
        "padded_taps": (fours - clean) * groups * window.taps,
        "padded_groups": (fours - clean) * groups,
        "left_taps": left * groups * window.taps,
        "left_groups": left * groups,
        "copied_taps": taps * slices,
        "copied_blocks": taps * copies,
        "outside_taps": outside * slices,
        "outside_blocks": outside * copies,
        "kernel_rows": window.positions * window.height.kernel * slices,
        "positions": window.positions * slices,
        "slices": slices,
        "calls": 1,
    }


def _clean_fours(window: Window) -> int:
    """Groups of four output pixels of which no tap lies outside the image."""
    rows = [
        window.height.taps_at(place) == window.height.kernel for place in range(window.height.out)
    ]
    columns = [
        window.width.taps_at(place) == window.width.kernel for place in range(window.width.out)
    ]
    flags = [row and column for row in rows for column in columns]
    return sum(all(flags[start : start + 4]) for start in range(0, len(flags) - 3, 4))


def _generic_depthwise(window: Window) -> tuple[str, Terms]:
    taps, outputs = window.valid_taps, window.positions * window.channels_out
    fours = window.channels_out // 4 if window.multiplier % 4 == 0 else 0
    return "generic_mult4" if window.multiplier % 4 == 0 else "generic", {
        "four_taps": taps * fours,
        "taps": taps * window.channels_out if not fours else 0,
        "kernel_rows": window.height.valid_taps() * window.width.out * window.channels_out,
        "outputs": outputs,
        "channel_loops": window.positions * window.channels_in,
        "outside_taps": outputs * window.taps - taps * window.channels_out,
        "positions": window.positions,
        "calls": 1,
    }


def dense_terms(
    graph: Subgraph, operator: Operator, kernels: KernelSet
) -> tuple[str, Terms] | None:
    """Path and terms of FULLY_CONNECTED."""
    image, weights, output = (
        graph.input(operator, 0),
        graph.input(operator, 1),
        graph.output(operator),
    )
    if image is None or weights is None or output is None or not weights.shape:
        return None
    depth = weights.shape[-1]
    channels = weights.elements // depth if depth else 0
    batches = output.elements // channels if channels else 0
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return "reference", {
            "macs": batches * channels * depth,
            "outputs": batches * channels,
            "batches": batches,
            "calls": 1,
        }
    if len(output.shape) > 2 and depth % 4 == 0:
        if kernels is KernelSet.CMSIS_MVE:
            return "1x1", {**_mve_matrix(batches, channels, depth, 1), "calls": 1}
        return "1x1", {**matrix_terms(batches, channels, depth, 1), "calls": 1}
    scaled = "per_channel" if len(weights.scales) > 1 else "per_tensor"
    return scaled, {**_vector_terms(channels, depth, batches, kernels), "calls": 1}


def _vector_terms(channels: int, depth: int, batches: int, kernels: KernelSet) -> Terms:
    if kernels is KernelSet.CMSIS_MVE:
        fours, rest = divmod(channels, 4)
        deep = blocks(depth, 16)
        return {
            "four_blocks": batches * fours * deep,
            "four_outputs": batches * fours,
            "rest_blocks": batches * rest * deep,
            "rest_outputs": batches * rest,
            "batches": batches,
        }
    step = 2 if kernels is KernelSet.CMSIS_DSP else 3
    groups, rest = divmod(channels, step)
    return {
        "group_blocks": batches * groups * (depth // 4),
        "group_rest": batches * groups * (depth % 4),
        "group_outputs": batches * groups,
        "rest_blocks": batches * rest * (depth // 4),
        "rest_rest": batches * rest * (depth % 4),
        "rest_outputs": batches * rest,
        "batches": batches,
    }


def pool_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> tuple[str, Terms] | None:
    """Path and terms of MAX_POOL_2D and AVERAGE_POOL_2D."""
    window, image = window_of(graph, operator), graph.input(operator, 0)
    if window is None or image is None:
        return None
    channels, taps, positions = window.channels_in, window.valid_taps, window.positions
    rows = window.height.valid_taps() * window.width.out
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return "reference", {
            "taps": taps * channels,
            "kernel_rows": rows * channels,
            "outputs": positions * channels,
            "positions": positions,
            "calls": 1,
        }
    if kernels is KernelSet.CMSIS_MVE:
        deep, tail = divmod(channels, 16)
        return "cmsis", {
            "tap_blocks": taps * deep,
            "tap_tails": taps * (1 if tail else 0),
            "tap_channels": taps * tail,
            "rows": rows,
            "output_blocks": positions * deep,
            "output_channels": positions * tail,
            "positions": positions,
            "calls": 1,
        }
    return "cmsis", {
        "tap_blocks": taps * (channels // 4),
        "tap_rest": taps * (channels % 4),
        "taps": taps,
        "rows": rows,
        "output_channels": positions * channels,
        "positions": positions,
        "calls": 1,
    }
