"""What convolutions with MVE count.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from linnet_profiler.cost.counted import Counted, Terms, add_terms
from linnet_profiler.memory.cmsis import is_1xn
from linnet_profiler.tflite.geometry import Axis, Window


def blocks(value: int, size: int) -> int:
    """Blocks of size that cover value."""
    return -(-value // size)


def mve_matrix(rows: int, channels: int, depth: int, calls: int) -> Terms:
    """Terms of arm_nn_mat_mult_nt_t_s8 with MVE: four rows at a time, then one by one."""
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


def mve_convolution(window: Window) -> Counted:
    """General convolution with MVE: im2col of four columns."""
    depth, channels = window.taps * window.filter_channels, window.channels_out
    fours, left = divmod(window.positions // max(1, window.batches), 4)
    # The matrix product is called for every four columns, then once for what is left.
    terms = _sum(
        mve_matrix(4, channels, depth, window.batches * fours),
        mve_matrix(left, channels, depth, window.batches if left else 0),
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
            "lines": window.lines,
            "column_calls": 1,
        },
    )


def _sum(*terms: Terms) -> Terms:
    total: Terms = {}
    for one in terms:
        add_terms(total, one)
    return total


def runs_1xn(window: Window) -> bool:
    """True where MVE's convolution along one row applies."""
    left, middle, right = _edge_columns(window.width)
    return is_1xn(window) and left + middle + right == window.width.out


def _edge_columns(axis: Axis) -> tuple[int, int, int]:
    total_pad = (axis.out - 1) * axis.stride + axis.kernel - axis.size
    odd = total_pad % 2 if total_pad >= 0 else -(-total_pad % 2)
    right = max(1, (axis.pad + odd + axis.stride - 1) // axis.stride) if axis.pad + odd else 0
    left = max(1, (axis.pad + axis.stride - 1) // axis.stride) if axis.pad else 0
    return left, max(axis.out - left - right, 0), right


def mve_row(window: Window) -> Counted:
    """Convolution along one row with MVE: left edge, middle, right edge."""
    axis, channels, depth = window.width, window.channels_out, window.filter_channels
    left, middle, right = _edge_columns(axis)
    column = axis.kernel * depth
    lines = window.batches
    terms = _sum(
        mve_matrix(left, channels, column, lines if left else 0),
        mve_matrix(middle, channels, column, lines),
        mve_matrix(right, channels, column, lines if right else 0),
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
