"""What convolutions, dense layers and pools count: loop trips of the kernels' source.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/ConvolutionFunctions/** and
Source/NNSupportFunctions/**.
"""

from __future__ import annotations

from typing import Final

from linnet_profiler.copies import column_runs, copy_terms, fill_terms, first_tap_runs
from linnet_profiler.counted import Counted, Terms, add_terms
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Operator, Subgraph
from linnet_profiler.op_memory_cmsis import (
    depthwise_runs_as_convolution,
    is_1x1,
    is_1xn,
)
from linnet_profiler.op_shapes import Axis, Window, window_of

_MVE_CHANNEL_BLOCK: Final = 124


def blocks(value: int, size: int) -> int:
    """Blocks of size that cover value."""
    return -(-value // size)


def convolution_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted | None:
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
    return _cmsis_convolution(window, kernels)


def _reference_convolution(window: Window) -> Counted:
    outputs = window.positions * window.channels_out
    valid = window.valid_taps * window.channels_out
    return Counted(
        "reference",
        {
            "macs": valid * window.filter_channels,
            "valid_taps": valid,
            "outside_taps": outputs * window.taps - valid,
            "kernel_rows": outputs * window.height.kernel,
            "outputs": outputs,
            "positions": window.positions,
            "lines": _lines(window),
            "calls": 1,
        },
    )


def _reference_depthwise(window: Window) -> Counted:
    outputs = window.positions * window.channels_out
    valid = window.valid_taps * window.channels_out
    return Counted(
        "reference",
        {
            "valid_taps": valid,
            "outside_taps": outputs * window.taps - valid,
            "kernel_rows": outputs * window.height.kernel,
            "outputs": outputs,
            "channel_loops": window.positions * window.channels_in,
            "positions": window.positions,
            "lines": _lines(window),
            "calls": 1,
        },
    )


def _lines(window: Window) -> int:
    """Rows of the output image over all batches."""
    return window.batches * window.height.out


def _cmsis_convolution(window: Window, kernels: KernelSet) -> Counted:
    depth, channels = window.taps * window.filter_channels, window.channels_out
    pairs, single = divmod(window.positions, 2)
    rows, odd = divmod(channels, 2)
    outside = window.positions * window.taps - window.valid_taps
    return Counted(
        "im2col",
        {
            "pair_blocks": pairs * rows * (depth // 4),
            "pair_rest": pairs * rows * (depth % 4),
            "pair_outputs": pairs * rows,
            "pair_loops": pairs * rows * (depth >= 4),
            "pair_rest_loops": pairs * rows * (depth % 4 > 0),
            "odd_blocks": pairs * odd * (depth // 4),
            "odd_rest": pairs * odd * (depth % 4),
            "odd_outputs": pairs * odd,
            "pairs": pairs,
            "single_blocks": single * channels * (depth // 4),
            "single_rest": single * channels * (depth % 4),
            "single_outputs": single * channels,
            "widened_blocks": window.positions * (depth // 4),
            "widened_rest": window.positions * (depth % 4),
            **copy_terms(column_runs(window), window.channels_in, kernels),
            **fill_terms(outside, window.channels_in),
            "kernel_rows": window.positions * window.height.kernel,
            "positions": window.positions,
            "lines": _lines(window),
            "calls": 1,
        },
    )


def _cmsis_pointwise(window: Window, kernels: KernelSet) -> Counted:
    depth, channels = window.channels_in, window.channels_out
    strided = window.height.stride != 1 or window.width.stride != 1
    if strided:
        # arm_convolve_1x1_s8 calls the matrix product once for each output row.
        calls, rows = window.batches * window.height.out, window.width.out
    else:
        calls, rows = 1, window.positions
    if kernels is KernelSet.CMSIS_MVE:
        terms = _mve_matrix(rows, channels, depth, calls)
        return Counted("matrix", {**terms, "pointwise_calls": 1})
    return Counted("1x1", {**matrix_terms(rows, channels, depth, calls), "calls": 1})


def matrix_terms(rows: int, channels: int, depth: int, calls: int) -> Terms:
    """Terms of arm_nn_mat_mult_nt_t_s8 without MVE: two channels by two rows at a time."""
    pairs, odd = divmod(channels, 2)
    twos, single = divmod(rows, 2)
    wide, rest = divmod(depth, 16)
    quads = calls * pairs * twos
    singles = calls * pairs * single
    return {
        "quad_wide": quads * wide,
        "quad_blocks": quads * (rest // 4),
        "quad_rest": quads * (depth % 4),
        "quad_outputs": quads,
        "quad_wide_loops": quads * (wide > 0),
        "quad_block_loops": quads * (rest >= 4),
        "quad_rest_loops": quads * (depth % 4 > 0),
        "single_blocks": singles * (depth // 4),
        "single_rest": singles * (depth % 4),
        "single_outputs": singles,
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


def _mve_convolution(window: Window) -> Counted:
    depth, channels = window.taps * window.filter_channels, window.channels_out
    fours, left = divmod(window.positions // max(1, window.batches), 4)
    # The matrix product is called for every four columns, then once for what is left.
    terms = _sum(
        _mve_matrix(4, channels, depth, window.batches * fours),
        _mve_matrix(left, channels, depth, window.batches if left else 0),
    )
    taps = window.valid_taps
    outside = window.positions * window.taps - taps
    return Counted(
        "matrix",
        {
            **terms,
            "copied_taps": taps,
            "copied_blocks": taps * blocks(window.channels_in, 16),
            "outside_taps": outside,
            "outside_blocks": outside * blocks(window.channels_in, 16),
            "kernel_rows": window.positions * window.height.kernel,
            "positions": window.positions,
            "lines": _lines(window),
            "column_calls": 1,
        },
    )


def _sum(*terms: Terms) -> Terms:
    total: Terms = {}
    for one in terms:
        add_terms(total, one)
    return total


def _runs_1xn(window: Window) -> bool:
    left, middle, right = _edge_columns(window.width)
    return is_1xn(window) and left + middle + right == window.width.out


def _edge_columns(axis: Axis) -> tuple[int, int, int]:
    total_pad = (axis.out - 1) * axis.stride + axis.kernel - axis.size
    odd = total_pad % 2 if total_pad >= 0 else -(-total_pad % 2)
    right = max(1, (axis.pad + odd + axis.stride - 1) // axis.stride) if axis.pad + odd else 0
    left = max(1, (axis.pad + axis.stride - 1) // axis.stride) if axis.pad else 0
    return left, max(axis.out - left - right, 0), right


def _mve_row(window: Window) -> Counted:
    axis, channels, depth = window.width, window.channels_out, window.filter_channels
    left, middle, right = _edge_columns(axis)
    column = axis.kernel * depth
    lines = window.batches
    terms = _sum(
        _mve_matrix(left, channels, column, lines if left else 0),
        _mve_matrix(middle, channels, column, lines),
        _mve_matrix(right, channels, column, lines if right else 0),
    )
    edges = lines * ((1 if left else 0) + (1 if right else 0))
    return Counted(
        "matrix",
        {
            **terms,
            "edges": edges,
            "edge_blocks": edges * blocks(column, 16),
            "edge_columns": lines * (left + right),
            "row_lines": lines,
            "row_calls": 1,
        },
    )


def _cmsis_depthwise(window: Window, kernels: KernelSet) -> Counted:
    if kernels is KernelSet.CMSIS_MVE and depthwise_runs_as_convolution(window):
        return Counted("matrix", _mve_convolution(window).terms, family="CONV_2D")
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


def _depthwise_3x3(window: Window) -> Counted:
    fours, rest = divmod(window.channels_in, 4)
    taps, positions = window.valid_taps, window.positions
    rows = window.height.valid_taps() * window.width.out
    return Counted(
        "3x3",
        {
            "four_taps": taps * fours,
            "four_rows": rows * fours,
            "four_outputs": positions * fours,
            "rest_taps": taps * rest,
            "rest_rows": rows * rest,
            "rest_outputs": positions * rest,
            "positions": positions,
            "lines": _lines(window),
            "calls": 1,
        },
    )


def _depthwise_columns(window: Window, kernels: KernelSet) -> Counted:
    if kernels is KernelSet.CMSIS_C:
        return _generic_depthwise(window)
    fours, rest = divmod(window.channels_in, 4)
    positions = window.positions
    return Counted(
        "opt",
        {
            "four_pairs": positions * fours * (window.taps // 2),
            "four_odd": positions * fours * (window.taps % 2),
            "four_outputs": positions * fours,
            "rest_taps": positions * rest * window.taps,
            "rest_outputs": positions * rest,
            "widened": window.valid_taps,
            "widened_words": window.valid_taps * (window.channels_in // 4),
            "filled_words": (positions * window.taps - window.valid_taps)
            * (window.channels_in // 2),
            "positions": positions,
            "calls": 1,
        },
    )


def _mve_depthwise(window: Window) -> Counted:
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
    return Counted(
        "mve",
        {
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
        },
    )


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


def _generic_depthwise(window: Window) -> Counted:
    taps, positions = window.valid_taps, window.positions
    rows = _window_rows(window)
    # Multipliers of 4 have their own kernel, where neither batches nor dilation are in the way.
    plain = window.height.dilation == 1 and window.width.dilation == 1 and window.batches == 1
    if window.multiplier % 4 == 0 and plain:
        tiles = window.channels_out // 4
        return Counted(
            "multiplier_4",
            {
                "tile_taps": taps * tiles,
                "tile_rows": rows * tiles,
                "tiles": positions * tiles,
                "calls": 1,
            },
        )
    outputs = positions * window.channels_out
    dilated = window.height.dilation > 1 or window.width.dilation > 1
    return Counted(
        "generic" if window.channels_in > 1 else "generic_1",
        {
            "taps": taps * window.channels_out,
            "rows": rows * window.channels_out,
            "outputs": outputs,
            "dilated_outputs": outputs if dilated else 0,
            "calls": 1,
        },
    )


def dense_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted | None:
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
    scaled = "per_channel" if len(weights.scales) > 1 else "per_tensor"
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return Counted(
            scaled if image.dtype == "INT8" else "reference",
            {
                "macs": batches * channels * depth,
                "outputs": batches * channels,
                "batches": batches,
                "calls": 1,
            },
            "DENSE",
        )
    if len(output.shape) > 2 and depth % 4 == 0:
        if kernels is KernelSet.CMSIS_MVE:
            terms = _mve_matrix(batches, channels, depth, 1)
            return Counted("matrix", {**terms, "dense_calls": 1}, family="CONV_2D")
        terms = matrix_terms(batches, channels, depth, 1)
        return Counted("1x1", {**terms, "dense_calls": 1}, family="CONV_2D")
    terms = {**vector_terms(channels, depth, batches, kernels), "calls": 1}
    return Counted(scaled, terms, "DENSE")


def vector_terms(channels: int, depth: int, batches: int, kernels: KernelSet) -> Terms:
    """Terms of arm_nn_vec_mat_mult_t_s8: a vector by a matrix, several channels at a time."""
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
    if kernels is KernelSet.CMSIS_C:
        groups, rest = divmod(channels, 3)
        return {
            "group_macs": batches * groups * depth,
            "group_outputs": batches * groups,
            "rest_macs": batches * rest * depth,
            "rest_outputs": batches * rest,
            "batches": batches,
        }
    groups, rest = divmod(channels, 2)
    steps = depth // 4
    # gcc unrolls the loop over blocks of 4 eight times.
    return {
        "group_unrolled": batches * groups * (steps // 8),
        "group_blocks": batches * groups * (steps % 8),
        "group_rest": batches * groups * (depth % 4),
        "group_outputs": batches * groups,
        "group_loops": batches * groups * (steps > 0),
        "group_rest_loops": batches * groups * (depth % 4 > 0),
        "rest_blocks": batches * rest * steps,
        "rest_rest": batches * rest * (depth % 4),
        "rest_outputs": batches * rest,
        "rest_loops": batches * rest * (steps > 0),
        "rest_rest_loops": batches * rest * (depth % 4 > 0),
        "batches": batches,
    }


def pool_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted | None:
    """Path and terms of MAX_POOL_2D and AVERAGE_POOL_2D."""
    window, image = window_of(graph, operator), graph.input(operator, 0)
    if window is None or image is None:
        return None
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return Counted(
            "reference",
            {
                "taps": window.valid_taps * window.channels_in,
                "kernel_rows": _window_rows(window) * window.channels_in,
                "outputs": window.positions * window.channels_in,
                "positions": window.positions,
                "lines": _lines(window),
                "calls": 1,
            },
        )
    if operator.name == "MAX_POOL_2D":
        return Counted("cmsis", _max_pool(window, kernels))
    return Counted("cmsis", _average_pool(window, kernels))


def _window_rows(window: Window) -> int:
    """Rows of the window that overlap the image, summed over the output pixels."""
    return window.batches * window.height.valid_taps() * window.width.out


def _max_pool(window: Window, kernels: KernelSet) -> Terms:
    channels, positions = window.channels_in, window.positions
    others, values = window.valid_taps - positions, positions * window.channels_in
    terms: Terms = {
        "rows": _window_rows(window),
        "positions": positions,
        "lines": _lines(window),
        "calls": 1,
    }
    if kernels is KernelSet.CMSIS_MVE:
        return {
            **terms,
            "first_blocks": positions * blocks(channels, 16),
            "other_taps": others,
            "other_blocks": others * blocks(channels, 16),
            "clamped_blocks": blocks(values, 16),
        }
    return {
        **terms,
        **copy_terms(first_tap_runs(window), channels, kernels),
        "other_taps": others,
        "other_words": others * (channels // 4),
        "other_rest": others * (channels % 4),
        "clamped_words": values // 4,
        "clamped_rest": values % 4,
    }


def _average_pool(window: Window, kernels: KernelSet) -> Terms:
    channels, positions, taps = window.channels_in, window.positions, window.valid_taps
    rows = _window_rows(window)
    terms: Terms = {"positions": positions, "lines": _lines(window), "calls": 1}
    if kernels is KernelSet.CMSIS_MVE:
        deep = blocks(channels, 16)
        return {
            **terms,
            "tap_blocks": taps * deep,
            "row_blocks": rows * deep,
            "output_blocks": positions * deep,
        }
    if kernels is KernelSet.CMSIS_C:
        return {
            **terms,
            "tap_channels": taps * channels,
            "row_channels": rows * channels,
            "rows": rows,
            "output_channels": positions * channels,
        }
    return {
        **terms,
        "taps": taps,
        "tap_words": taps * (channels // 4),
        "tap_rest": taps * (channels % 4),
        "rows": rows,
        "output_channels": positions * channels,
        "output_words": positions * (channels // 4),
    }
