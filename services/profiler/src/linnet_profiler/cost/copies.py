"""Terms of memcpy and memset of many short runs, by length and alignment.

newlib's memcpy takes words where source and destination lie on 4, otherwise bytes or (Armv7-M, from
8 bytes) unaligned words after the destination is aligned; Armv6-M's own is counted exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd

from linnet_profiler.cost.armv6m import copy_instructions, fill_instructions
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.geometry import Axis, Steps, Window, pairs_inside

Terms = dict[str, float]
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
        return {
            "runs": aligned + other,
            "copying": aligned * copy_instructions(length, aligned=True)
            + other * copy_instructions(length, aligned=False),
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


def fill_terms(runs: int, length: int, kernels: KernelSet) -> Terms:
    """Terms of filling runs of `length` bytes each."""
    if kernels is KernelSet.CMSIS_C:
        # Columns whose taps are no whole words begin anywhere: two bytes before one on average.
        lead = 2 if length % _WORD else 0
        return {"filled_runs": runs, "filling": runs * fill_instructions(length, lead=lead)}
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
    wide = window.width
    # Source and target are sums of a part of the row and a part of the column, so that counting
    # remainders on each axis is enough; a column's start hangs on whether its number is odd.
    rows = _remainders(
        window.height, source=wide.size * channels, place=wide.out, tap=wide.kernel * channels
    )
    columns = _remainders(wide, source=channels, place=1, tap=channels)
    odd = window.taps * channels
    aligned = sum(
        above * beside
        for (source, place, tap), above in rows.items()
        for (source_x, place_x, tap_x), beside in columns.items()
        if (source + source_x) % _WORD == 0
        and ((place + place_x) % 2 * odd + tap + tap_x) % _WORD == 0
    )
    return Runs(window.batches * aligned, window.valid_taps - window.batches * aligned)


def _remainders(axis: Axis, *, source: int, place: int, tap: int) -> Counter[tuple[int, int, int]]:
    """How many taps inside the image have each remainder of their three offsets."""
    found: Counter[tuple[int, int, int]] = Counter()
    period = _WORD // gcd(_WORD, source * axis.stride)
    period = period * 2 // gcd(period, 2)
    for start in range(min(period, axis.out)):
        for number in range(min(_WORD, axis.kernel)):
            # Positions start, start + period, ... and every fourth tap leave the same remainders.
            first = start * axis.stride - axis.pad + number * axis.dilation
            positions = Steps(period * axis.stride, -(-(axis.out - start) // period))
            taps = Steps(_WORD * axis.dilation, -(-(axis.kernel - number) // _WORD))
            times = pairs_inside(first, positions, taps, axis.size)
            if times:
                key = (first * source % _WORD, start * place % 2, number * tap % _WORD)
                found[key] += times
    return found


def first_tap_runs(window: Window) -> Runs:
    """Runs that max pooling copies: the first tap of each output pixel."""
    channels, positions = window.channels_in, window.positions
    if channels % _WORD == 0:
        return Runs(positions, 0)
    wide = window.width
    rows = _first_taps(window.height, source=wide.size * channels, target=wide.out * channels)
    columns = _first_taps(wide, source=channels, target=channels)
    aligned = sum(
        above * beside
        for (source, target), above in rows.items()
        for (source_x, target_x), beside in columns.items()
        if (source + source_x) % _WORD == 0 and (target + target_x) % _WORD == 0
    )
    return Runs(window.batches * aligned, positions - window.batches * aligned)


def _first_taps(axis: Axis, *, source: int, target: int) -> Counter[tuple[int, int]]:
    """How many output positions have each remainder of where they read and write first."""
    found: Counter[tuple[int, int]] = Counter()
    edge = min(axis.out, -(-axis.pad // axis.stride))
    for start in range(min(_WORD, edge)):
        found[0, start * target % _WORD] += -(-(edge - start) // _WORD)
    for start in range(edge, min(edge + _WORD, axis.out)):
        times = -(-(axis.out - start) // _WORD)
        read = (start * axis.stride - axis.pad) * source % _WORD
        found[read, start * target % _WORD] += times
    return found
