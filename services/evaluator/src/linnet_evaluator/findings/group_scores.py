"""Accuracy of each group, and whether the worst is worse than chance explains."""

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator.findings.row_groups import Groups
from linnet_evaluator.record import GroupScores, Interval
from linnet_evaluator.scores.binomial import lower_tail, wilson

MAX_GROUPS = 200
_LEAST_ROWS = 5
_LEVEL = 0.05


def score_groups(
    right: NDArray[np.bool_], groups: Groups, rows: NDArray[np.int64]
) -> tuple[tuple[GroupScores, ...], str]:
    """Score each group and say what stands out.

    Args:
        right: Whether each row is right, shape (rows,).
        groups: The dataset's groups.
        rows: Index of each row in the dataset, shape (rows,).

    Returns:
        The groups, worst first, and a sentence on the worst one.
    """
    numbers, index = np.unique(groups.numbers[rows], return_inverse=True)
    names, sizes = groups.names[numbers], np.bincount(index)
    hits = np.bincount(index, weights=right).astype(np.int64)
    total_rows, total_hits = len(right), int(right.sum())
    found = []
    for name, n, k in zip(names.tolist(), sizes.tolist(), hits.tolist(), strict=True):
        others = total_rows - n
        share = (total_hits - k) / others if others else 1.0
        chance = lower_tail(k, n, share) if others else 1.0
        found.append(
            GroupScores(
                group=name,
                sample_count=n,
                accuracy=k / n,
                interval=Interval(*wilson(k, n)),
                p_value=chance,
            )
        )
    found.sort(key=lambda group: (group.accuracy, -group.sample_count, group.group))
    return tuple(found[:MAX_GROUPS]), _worst(found, total_rows, total_hits)


def _worst(found: list[GroupScores], total_rows: int, total_hits: int) -> str:
    large = [group for group in found if group.sample_count >= _LEAST_ROWS]
    if len(found) < 2 or not large:  # noqa: PLR2004 (one group has no others)
        return ""
    worst = large[0]
    others = total_rows - worst.sample_count
    rest = (total_hits - worst.accuracy * worst.sample_count) / others if others else 0.0
    told = (
        f"Group {worst.group} is worst: {worst.accuracy * 100:.1f} % of its {worst.sample_count} "
        f"rows are right, against {rest * 100:.1f} % of the others"
    )
    # Bonferroni: the worst of many groups is low by chance alone.
    if worst.p_value * len(found) < _LEVEL:
        return f"{told}; chance alone does not explain that (p = {worst.p_value:.2g})"
    return f"{told}; that may be chance (p = {worst.p_value:.2g} before looking at all groups)"
