"""95 % percentile bootstrap intervals of scores that follow from a confusion matrix.

Drawing rows with replacement draws a confusion matrix from a multinomial distribution over its
cells, so a thousand draws cost milliseconds. Where rows come in groups (subjects, recordings),
whole groups are drawn instead: rows of one group are alike, and drawing rows would make the
intervals too narrow.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator import confusion

DRAWS = 1000
LEVEL = 0.95
SEED = 20_240_229

_ROWS_A_CELL = 10  # up to so many rows a cell, drawing rows one by one is faster
_BINOMIAL_COST = 50  # time of one binomial draw in times of one integer draw

Statistic = Callable[[confusion.Margins], NDArray[np.float64]]

STATISTICS: dict[str, Statistic] = {
    "accuracy": confusion.accuracy,
    "balanced_accuracy": confusion.balanced_accuracy,
    "mcc": confusion.matthews,
    "macro_f1": confusion.macro_f1,
}


def draw_cells(cells: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """Draw counts of cells as drawing their rows with replacement would, shape (draws, cells)."""
    total = int(cells.sum())
    # One binomial draw a cell until no rows are left: large cells first ends that soonest.
    filled = np.flatnonzero(cells)
    filled = filled[np.argsort(-cells[filled], kind="stable")]
    random = np.random.Generator(np.random.PCG64(seed))
    if total < _ROWS_A_CELL * len(filled):
        rows = np.repeat(np.arange(len(cells)), cells)
        picked = rows[random.integers(0, total, size=(draws, total))]
        picked += np.arange(draws)[:, None] * len(cells)
        counts = np.bincount(picked.ravel(), minlength=draws * len(cells))
        return counts.reshape(draws, len(cells))
    drawn = np.zeros((draws, len(cells)), np.int64)
    drawn[:, filled] = random.multinomial(total, cells[filled] / total, size=draws)
    return drawn


def draw_groups(
    cells: NDArray[np.int64], groups: NDArray[np.int64], count: int, draws: int, seed: int
) -> NDArray[np.float64]:
    """Draw counts of cells by drawing whole groups with replacement, shape (draws, count).

    Groups with equal counts are interchangeable, so they share one draw.

    Args:
        cells: Cell of each row, shape (rows,), in [0, count).
        groups: Group of each row, shape (rows,), in [0, number of groups).
        count: Number of cells.
        draws: How many.
        seed: Of the random numbers.
    """
    group_count = int(groups.max()) + 1
    used, cells = np.unique(cells, return_inverse=True)
    of_group = np.bincount(groups * len(used) + cells, minlength=group_count * len(used))
    of_group = of_group.reshape(group_count, len(used))
    random = np.random.Generator(np.random.PCG64(seed))
    # Finding equal rows by a random 62-bit sum is 20 times faster than comparing them.
    sums = of_group @ random.integers(0, 1 << 62, size=len(used))
    _, first, kind_of, repeats = np.unique(
        sums, return_index=True, return_inverse=True, return_counts=True
    )
    if len(first) * _BINOMIAL_COST > group_count:
        drawn = np.empty((draws, len(first)), dtype=np.int64)
        for row in drawn:
            picked = kind_of[random.integers(0, group_count, size=group_count)]
            row[:] = np.bincount(picked, minlength=len(first))
    else:
        drawn = random.multinomial(group_count, repeats / group_count, size=draws)
    out = np.zeros((draws, count))
    out[:, used] = drawn.astype(np.float64) @ of_group[first].astype(np.float64)
    return out


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """Give the middle 95 % of drawn values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals(
    actual: NDArray[np.int64],
    predicted: NDArray[np.int64],
    count: int,
    groups: NDArray[np.int64] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, tuple[float, float]]:
    """Give the interval of accuracy, balanced accuracy, MCC and macro F1.

    Args:
        actual: Class of each row, shape (rows,).
        predicted: Predicted class of each row, shape (rows,).
        count: Number of classes.
        groups: Group of each row, numbered from 0, or None to draw single rows.
        draws: Number of draws.
        seed: Of the random numbers; the same seed gives the same intervals.
    """
    cells = actual * count + predicted
    if groups is None:
        drawn: NDArray[np.generic] = draw_cells(
            np.bincount(cells, minlength=count * count), draws, seed
        )
    else:
        drawn = draw_groups(cells, groups, count * count, draws, seed)
    sums = confusion.margins(drawn.reshape(draws, count, count))
    return {name: percentiles(of(sums)) for name, of in STATISTICS.items()}
