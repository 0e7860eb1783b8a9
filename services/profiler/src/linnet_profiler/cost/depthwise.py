"""What depthwise convolutions count.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from typing import Final

from linnet_profiler.cost.counted import Counted
from linnet_profiler.cost.mve import blocks, mve_convolution
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.cmsis import depthwise_runs_as_convolution
from linnet_profiler.tflite.geometry import Window

_MVE_CHANNEL_BLOCK: Final = 124
_LANES: Final = 4


def reference_depthwise(window: Window) -> Counted:
    """TFLM's own depthwise convolution."""
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
            "lines": window.lines,
            "calls": 1,
        },
    )


def cmsis_depthwise(window: Window, kernels: KernelSet) -> Counted:
    """CMSIS-NN's depthwise convolutions, by the path its wrapper picks."""
    if kernels is KernelSet.CMSIS_MVE and depthwise_runs_as_convolution(window):
        return Counted("matrix", mve_convolution(window).terms, family="CONV_2D")
    plain = (
        window.channels_in == window.channels_out
        and window.batches == 1
        and window.height.dilation == 1
        and window.width.dilation == 1
    )
    if not plain:
        return _generic_depthwise(window, kernels)
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
            "lines": window.lines,
            "calls": 1,
        },
    )


def _depthwise_columns(window: Window, kernels: KernelSet) -> Counted:
    if kernels is KernelSet.CMSIS_C:
        return _generic_depthwise(window, kernels)
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
    whole, rest = divmod(window.channels_in, _MVE_CHANNEL_BLOCK)
    groups = whole * blocks(_MVE_CHANNEL_BLOCK, 4) + blocks(rest, 4)
    slices = blocks(window.channels_in, _MVE_CHANNEL_BLOCK)
    copies = whole * blocks(_MVE_CHANNEL_BLOCK, 16) + blocks(rest, 16)
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
    wide = window.width.out
    rows, columns = window.height.clean_positions(), window.width.clean_positions()
    if columns == (0, wide):
        return _fours_within(rows[0] * wide, rows[1] * wide)
    # Rows whose numbers leave the same remainder begin at the same place of a group.
    return sum(
        _fours_within(first * wide + columns[0], first * wide + columns[1])
        * -(-(rows[1] - first) // _LANES)
        for first in range(rows[0], min(rows[0] + _LANES, rows[1]))
    )


def _fours_within(start: int, end: int) -> int:
    """Groups of four, counted from 0, that lie in [start, end)."""
    return max(0, end // _LANES - -(-start // _LANES))


def _generic_depthwise(window: Window, kernels: KernelSet) -> Counted:
    taps, positions = window.valid_taps, window.positions
    rows = window.window_rows
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
    # With one channel gcc keeps more in the registers of a Thumb-2 core; Armv6-M has too few.
    single = window.channels_in == 1 and kernels is not KernelSet.CMSIS_C
    return Counted(
        "generic_1" if single else "generic",
        {
            "taps": taps * window.channels_out,
            "rows": rows * window.channels_out,
            "outputs": outputs,
            "dilated_outputs": outputs if dilated else 0,
            "calls": 1,
        },
    )
