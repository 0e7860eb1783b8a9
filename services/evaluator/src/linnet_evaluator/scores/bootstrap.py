"""95 % percentile bootstrap intervals of scores that follow from a confusion matrix.

Each draw is a vector of weights: how often each row, each cell of the matrix or each kind of group
is drawn. One matrix product then gives the margins of all draws, so that a thousand draws cost a
millisecond. Where rows come in groups (subjects, recordings), whole groups are drawn: rows of one
group are alike, and drawing rows would make the intervals too narrow.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator.scores import confusion

DRAWS = 1000
LEVEL = 0.95
SEED = 20_240_229

_FEW_ROWS = 512  # up to so many, weights of single rows are drawn once and kept
_BINOMIAL_COST = 50  # time of one binomial draw in times of one integer draw

Floats = NDArray[np.float64]
Statistic = Callable[[confusion.Margins], Floats]

STATISTICS: dict[str, Statistic] = {
    "accuracy": confusion.accuracy,
    "balanced_accuracy": confusion.balanced_accuracy,
    "mcc": confusion.matthews,
    "macro_f1": confusion.macro_f1,
}


@lru_cache(maxsize=8)
def _weights_of_rows(total: int, draws: int, seed: int) -> NDArray[np.float32]:
    """Say how often each of a few rows is drawn, shape (draws, total); sets of a batch share it."""
    random = np.random.Generator(np.random.PCG64(seed))
    picked = random.integers(0, total, size=(draws, total))
    picked += np.arange(draws)[:, None] * total
    weights = np.bincount(picked.ravel(), minlength=draws * total).astype(np.float32)
    weights.setflags(write=False)
    return weights.reshape(draws, total)


def _draw_rows(cells: NDArray[np.int64], told: Floats, draws: int, seed: int) -> Floats:
    total = len(cells)
    if total <= _FEW_ROWS:
        # Counts up to 512 are exact in float32.
        drawn = _weights_of_rows(total, draws, seed) @ told[cells].astype(np.float32)
        return drawn.astype(np.float64)
    counts = np.bincount(cells, minlength=len(told))
    # One binomial draw a cell until no rows are left: large cells first ends that soonest.
    filled = np.flatnonzero(counts)
    filled = filled[np.argsort(-counts[filled], kind="stable")]
    random = np.random.Generator(np.random.PCG64(seed))
    weights = random.multinomial(total, counts[filled] / total, size=draws)
    return weights.astype(np.float64) @ told[filled]


def _draw_groups(
    cells: NDArray[np.int64], told: Floats, groups: NDArray[np.int64], draws: int, seed: int
) -> Floats:
    """Draw whole groups; those with equal counts are interchangeable, so they share one weight."""
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
        weights = np.empty((draws, len(first)), dtype=np.int64)
        for row in weights:
            picked = kind_of[random.integers(0, group_count, size=group_count)]
            row[:] = np.bincount(picked, minlength=len(first))
    else:
        weights = random.multinomial(group_count, repeats / group_count, size=draws)
    return weights.astype(np.float64) @ (of_group[first].astype(np.float64) @ told[used])


def draw(
    cells: NDArray[np.int64],
    told: Floats,
    groups: NDArray[np.int64] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Floats:
    """Draw as many rows, or whole groups, with replacement and add up what they tell.

    Args:
        cells: Cell of each row, shape (rows,), in [0, cells).
        told: What a row of each cell adds, shape (cells, values).
        groups: Group of each row, numbered from 0, shape (rows,); None draws single rows.
        draws: How many.
        seed: Of the random numbers.

    Returns:
        Sums of each draw, shape (draws, values).
    """
    if groups is None:
        return _draw_rows(cells, told, draws, seed)
    return _draw_groups(cells, told, groups, draws, seed)


def percentiles(values: Floats) -> list[tuple[float, float]]:
    """Give the middle 95 % of each row's drawn values, shape (scores, draws).

    Interpolates linearly between the two nearest values, as NumPy's `quantile` does.
    """
    ordered = np.sort(values, axis=1)
    ends = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        place = share * (values.shape[1] - 1)
        below = int(place)
        above = min(below + 1, values.shape[1] - 1)
        ends.append(ordered[:, below] + (place - below) * (ordered[:, above] - ordered[:, below]))
    return list(zip(*(end.tolist() for end in ends), strict=True))


@lru_cache(maxsize=64)
def _told_by_cell(count: int) -> Floats:
    """Say what one row of each cell adds to right, support and predicted, (count², 3 · count)."""
    same = np.eye(count)
    actual, predicted = np.repeat(same, count, axis=0), np.tile(same, (count, 1))
    return np.concatenate([actual * predicted, actual, predicted], axis=1)


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
    drawn = draw(cells, _told_by_cell(count), groups, draws=draws, seed=seed)
    # Draws beside each other in memory: sums over a few classes then run over many draws at once.
    by_class = np.ascontiguousarray(drawn.T).reshape(3, count, draws)
    right, support, chosen = by_class.transpose(0, 2, 1)
    sums = confusion.Margins(right=right, support=support, predicted=chosen)
    found = percentiles(np.stack([of(sums) for of in STATISTICS.values()]))
    return dict(zip(STATISTICS, found, strict=True))
