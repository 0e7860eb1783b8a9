"""Terms of memcpy and memset of many short runs, by length and alignment.

newlib's memcpy takes words where source and destination lie on 4, otherwise bytes or (Armv7-M, from
8 bytes) unaligned words after the destination is aligned; Armv6-M's C version takes words only
from 16 bytes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.op_shapes import Axis, Window

Terms = dict[str, float]
_Integers = npt.NDArray[np.int64]
_WORD = 4
_BLOCK = 16
_BIG_BLOCK = 64
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs to copy.

    Attributes:
        aligned: Runs of which source and destination lie on 4.
        misaligned: The others.
    """

    aligned: int
    misaligned: int


def copy_terms(runs: Runs, length: int, kernels: KernelSet) -> Terms:
    """Terms of copying runs of `length` bytes each."""
    aligned, other = runs.aligned, runs.misaligned
    if kernels is KernelSet.CMSIS_C:
        if length < _BLOCK:
            return {"byte_runs": aligned + other, "run_bytes": (aligned + other) * length}
        return {
            "word_runs": aligned,
            "run_blocks": aligned * (length // _BLOCK),
            "run_words": aligned * (length % _BLOCK // _WORD),
            "run_rest": aligned * (length % _WORD),
            "byte_runs": other,
            "run_bytes": other * length,
        }
    terms: Terms = {
        "word_runs": aligned,
        "run_big_blocks": aligned * (length // _BIG_BLOCK),
        "run_blocks": aligned * (length % _BIG_BLOCK // _BLOCK),
        "run_words": aligned * (length % _BLOCK // _WORD),
        "run_rest": aligned * (length % _WORD),
    }
    if length < _SHORT:
        return {**terms, "byte_runs": other, "run_bytes": other * length}
    return {**terms, "odd_runs": other, "odd_run_words": other * (length // _WORD)}


def fill_terms(runs: int, length: int) -> Terms:
    """Terms of filling runs of `length` bytes each."""
    return {
        "filled_runs": runs,
        "filled_words": runs * (length // _WORD),
        "filled_rest": runs * (length % _WORD),
    }


def column_runs(window: Window) -> Runs:
    """Runs that im2col copies: one a tap inside the image, into two columns in turn."""
    channels = window.channels_in
    if channels % _WORD == 0:
        return Runs(window.valid_taps, 0)
    rows, row_inside = _taps(window.height)
    columns, column_inside = _taps(window.width)
    source = (rows[:, None, :, None] * window.width.size + columns[None, :, None, :]) * channels
    place = np.arange(window.height.out)[:, None] * window.width.out + np.arange(window.width.out)
    tap = np.arange(window.height.kernel)[:, None] * window.width.kernel + np.arange(
        window.width.kernel
    )
    column_start = (place % 2) * window.taps * channels
    target = column_start[:, :, None, None] + tap[None, None] * channels
    inside = row_inside[:, None, :, None] & column_inside[None, :, None, :]
    aligned = int((((source % _WORD) == 0) & ((target % _WORD) == 0) & inside).sum())
    return Runs(window.batches * aligned, window.valid_taps - window.batches * aligned)


def _taps(axis: Axis) -> tuple[_Integers, npt.NDArray[np.bool_]]:
    places = (
        np.arange(axis.out)[:, None] * axis.stride
        - axis.pad
        + np.arange(axis.kernel)[None] * axis.dilation
    )
    return places, (places >= 0) & (places < axis.size)


def first_tap_runs(window: Window) -> Runs:
    """Runs that max pooling copies: the first tap of each output pixel."""
    channels, positions = window.channels_in, window.positions
    if channels % _WORD == 0:
        return Runs(positions, 0)
    rows, columns = (
        np.maximum(0, np.arange(axis.out) * axis.stride - axis.pad)
        for axis in (window.height, window.width)
    )
    source = (rows[:, None] * window.width.size + columns[None]) * channels
    place = np.arange(window.height.out)[:, None] * window.width.out + np.arange(window.width.out)
    aligned = int((((source % _WORD) == 0) & ((place * channels % _WORD) == 0)).sum())
    return Runs(window.batches * aligned, positions - window.batches * aligned)
