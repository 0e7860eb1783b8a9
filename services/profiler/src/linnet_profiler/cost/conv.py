"""What convolutions count without MVE, and which kernel each takes.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from linnet_profiler.cost.copies import column_runs, copy_terms, fill_terms
from linnet_profiler.cost.counted import Counted, Terms
from linnet_profiler.cost.depthwise import cmsis_depthwise, reference_depthwise
from linnet_profiler.cost.mve import mve_convolution, mve_matrix, mve_row, runs_1xn
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.cmsis import is_1x1
from linnet_profiler.tflite.geometry import Window, window_of
from linnet_profiler.tflite.model import Operator, Subgraph


def convolution_terms(graph: Subgraph, operator: Operator, kernels: KernelSet) -> Counted | None:
    """Path and terms of CONV_2D and DEPTHWISE_CONV_2D."""
    window, image = window_of(graph, operator), graph.input(operator, 0)
    if window is None or image is None:
        return None
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    if image.dtype != "INT8" or not kernels.is_cmsis:
        return reference_depthwise(window) if depthwise else _reference_convolution(window)
    if depthwise:
        return cmsis_depthwise(window, kernels)
    if is_1x1(window):
        return _cmsis_pointwise(window, kernels)
    if kernels is KernelSet.CMSIS_MVE:
        return mve_row(window) if runs_1xn(window) else mve_convolution(window)
    return cmsis_convolution(window, kernels)


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
            "lines": window.lines,
            "calls": 1,
        },
    )


def cmsis_convolution(window: Window, kernels: KernelSet) -> Counted:
    """Path and terms of arm_convolve_s8 without MVE: two columns at a time."""
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
            **fill_terms(outside, window.channels_in, kernels),
            "kernel_rows": window.positions * window.height.kernel,
            "positions": window.positions,
            "lines": window.lines,
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
        terms = mve_matrix(rows, channels, depth, calls)
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
