"""Chooses rows or whole groups so that classes stay as balanced as they can."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_DRAWS = 64
"""Random orders of groups that compete; more no longer improve the balance of real datasets."""
_DRAWN_CELLS = 20_000_000
"""Groups x classes x draws at most, so that 100,000 groups take well under a second."""


def choose_stratified(labels: NDArray[np.integer], share: float, rng: np.random.Generator) -> Rows:
    """Choose that share of the rows of each class, but never all rows of one.

    Args:
        labels: Class of each row.
        share: In (0, 1).
        rng: Decides which rows.

    Returns:
        Sorted positions within `labels`.
    """
    chosen = []
    for members in _by_class(labels, rng):
        count = min(int(members.size * share + 0.5), members.size - 1)
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))


def stratified_folds(
    labels: NDArray[np.integer], fold_count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal the rows of each class out over folds, as evenly as possible.

    Returns:
        The fold of each row, from 0.
    """
    order = np.concatenate(_by_class(labels, rng))
    fold_of = np.empty(labels.size, dtype=np.int64)
    fold_of[order] = np.arange(labels.size) % fold_count
    return fold_of


def choose_groups(
    labels: NDArray[np.integer],
    groups: NDArray[np.str_],
    share: float,
    rng: np.random.Generator,
) -> Rows:
    """Choose whole groups whose rows are nearest to that share of every class.

    At least one group is chosen and one is left. Of many random orders the best prefix counts, so
    that another seed gives other groups.

    Returns:
        Sorted positions of the chosen groups' rows.
    """
    counts, group_of = _class_counts(labels, groups)
    target = counts.sum(axis=0) * share
    draws = max(1, min(_DRAWS, _DRAWN_CELLS // counts.size))
    best: tuple[float, Rows] | None = None
    for _ in range(draws):
        order = rng.permutation(len(counts))
        sums = np.cumsum(counts[order], axis=0)[:-1]
        distances = np.abs(sums - target).sum(axis=1)
        size = int(np.argmin(distances)) + 1
        if best is None or distances[size - 1] < best[0]:
            best = (float(distances[size - 1]), order[:size])
    assert best is not None
    return np.flatnonzero(np.isin(group_of, best[1]))


def group_folds(
    labels: NDArray[np.integer],
    groups: NDArray[np.str_],
    fold_count: int,
    class_count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Assign whole groups to folds, largest first, each to where it unbalances classes least.

    Returns:
        The fold of each row, from 0; no fold is empty when there are as many groups as folds.
    """
    counts, group_of = _class_counts(labels, groups)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    target = counts.sum(axis=0) / fold_count
    sums = np.zeros((fold_count, min(class_count, counts.shape[1])))
    fold_of_group = np.empty(len(counts), dtype=np.int64)
    empty = set(range(fold_count))
    for position, group in enumerate(order):
        growth = np.square(sums + counts[group] - target).sum(axis=1)
        growth -= np.square(sums - target).sum(axis=1)
        if len(counts) - position <= len(empty):
            growth[[f for f in range(fold_count) if f not in empty]] = np.inf
        fold = int(np.argmin(growth))
        empty.discard(fold)
        sums[fold] += counts[group]
        fold_of_group[group] = fold
    return fold_of_group[group_of]


def _by_class(labels: NDArray[np.integer], rng: np.random.Generator) -> list[Rows]:
    order = rng.permutation(labels.size)
    ranked = order[np.argsort(labels[order], kind="stable")]
    borders = np.flatnonzero(np.diff(labels[ranked])) + 1
    return [part.astype(np.int64) for part in np.split(ranked, borders)]


def _class_counts(
    labels: NDArray[np.integer], groups: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    names, group_of = np.unique(groups, return_inverse=True)
    classes, class_of = np.unique(labels, return_inverse=True)
    counts = np.zeros((names.size, classes.size), dtype=np.int64)
    np.add.at(counts, (group_of, class_of), 1)
    return counts, group_of.astype(np.int64)
