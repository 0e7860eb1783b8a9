"""Whether one model is better than another on the same rows (McNemar's exact test)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator.record import Interval
from linnet_evaluator.scores import bootstrap
from linnet_evaluator.scores.binomial import two_sided_half

_ENOUGH_GROUPS = 10
_LEVEL = 0.05
_GAIN_AND_ROWS = np.array([[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
"""What a row adds to the gain and to the rows, where only the first is right, where both or neither
are, and where only the second is."""


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same rows; mirrors CompareScoresResponse of the contract."""

    sample_count: int
    both_right_count: int
    first_only_count: int
    second_only_count: int
    both_wrong_count: int
    accuracy_gain: float
    accuracy_gain_interval: Interval
    p_value: float
    verdict: str


def compare(
    first_right: NDArray[np.bool_],
    second_right: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
) -> PairedComparison:
    """Compare two models row by row.

    Only rows that exactly one of them has right tell them apart; if both were equally good, each
    such row would be as likely on either side, whatever the number of rows.

    Args:
        first_right: Whether the first has each row right, shape (rows,).
        second_right: The same of the second.
        groups: Group of each row, numbered from 0; the interval then draws whole groups.
    """
    cells = np.bincount(first_right * 2 + second_right, minlength=4)
    neither, second_only, first_only, both = (int(n) for n in cells)
    count = len(first_right)
    gain = (second_only - first_only) / count
    low, high = paired_interval(first_right, second_right, groups)
    chance = two_sided_half(first_only, second_only)
    return PairedComparison(
        sample_count=count,
        both_right_count=both,
        first_only_count=first_only,
        second_only_count=second_only,
        both_wrong_count=neither,
        accuracy_gain=gain,
        accuracy_gain_interval=Interval(low, high),
        p_value=chance,
        verdict=_verdict(gain, chance, count),
    )


def paired_interval(
    first_right: NDArray[np.bool_],
    second_right: NDArray[np.bool_],
    groups: NDArray[np.int64] | None,
) -> tuple[float, float]:
    """Bootstrap the second's accuracy less the first's: each row is a gain, a loss or neither.

    Few groups have so few distinct draws that their interval can shrink to a point; it is then
    widened to the interval of single rows.
    """
    kinds = 1 + second_right.astype(np.int64) - first_right.astype(np.int64)
    single = _interval(bootstrap.draw(kinds, _GAIN_AND_ROWS))
    if groups is None:
        return single
    grouped = _interval(bootstrap.draw(kinds, _GAIN_AND_ROWS, groups))
    if int(groups.max()) + 1 >= _ENOUGH_GROUPS:
        return grouped
    return min(single[0], grouped[0]), max(single[1], grouped[1])


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    return bootstrap.percentiles((drawn[:, 0] / drawn[:, 1])[None])[0]


def _verdict(gain: float, chance: float, count: int) -> str:
    points = f"{abs(gain) * 100:.1f} points of accuracy on {count} rows (p = {chance:.2g})"
    if chance >= _LEVEL:
        return f"No sure difference: {points}"
    return f"The {'second' if gain > 0 else 'first'} is better: {points}"
