"""What depthwise convolutions count.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from linnet_profiler.cost.counted import Counted
from linnet_profiler.cost.mve import blocks, mve_convolution
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.cmsis import depthwise_runs_as_convolution
from linnet_profiler.tflite.geometry import Window

_MVE_CHANNEL_BLOCK: Final = 124
# Larger images than any arena holds are averaged over.
_PIXELS_LOOKED_AT: Final = 1 << 22


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
    positions = window.height.out * window.width.out
    rows, columns = (
        np.array([axis.clean(place) for place in range(axis.out)], dtype=np.bool_)
        for axis in (window.height, window.width)
    )
    if positions > _PIXELS_LOOKED_AT:
        return int(rows.mean() * columns.mean() * positions) // 4
    flags = np.outer(rows, columns).ravel()
    return int(flags[: positions // 4 * 4].reshape(-1, 4).all(axis=1).sum())


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
