"""What pools count.

Every term is how often one loop body of the kernel runs, so that the count of instructions is a
sum of terms times what the compiler made of each body. Sources: tensorflow/lite/kernels/internal/
reference/** at tflite-micro 90b983c2 and CMSIS-NN 4ab83cc3, Source/**.
"""

from __future__ import annotations

from linnet_profiler.cost.copies import copy_terms, first_tap_runs
from linnet_profiler.cost.counted import Counted, Terms
from linnet_profiler.cost.mve import blocks
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.geometry import Window, window_of
from linnet_profiler.tflite.model import Operator, Subgraph


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
                "kernel_rows": window.window_rows * window.channels_in,
                "outputs": window.positions * window.channels_in,
                "positions": window.positions,
                "lines": window.lines,
                "calls": 1,
            },
        )
    if operator.name == "MAX_POOL_2D":
        return Counted("cmsis", _max_pool(window, kernels))
    return Counted("cmsis", _average_pool(window, kernels))


def _max_pool(window: Window, kernels: KernelSet) -> Terms:
    channels, positions = window.channels_in, window.positions
    others, values = window.valid_taps - positions, positions * window.channels_in
    terms: Terms = {
        "rows": window.window_rows,
        "positions": positions,
        "lines": window.lines,
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
    rows = window.window_rows
    terms: Terms = {"positions": positions, "lines": window.lines, "calls": 1}
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
