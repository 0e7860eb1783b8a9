"""One-vs-rest areas under curves, from scores, by one sort a class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Areas of each class, shape (classes,); NaN where undefined.

    Attributes:
        roc_auc: Area under the ROC curve; undefined where a class has no rows or all rows.
        average_precision: Area under the steps of precision over recall; undefined where a class
            has no rows.
    """

    roc_auc: Floats
    average_precision: Floats


def _areas(keys: NDArray[np.uint32]) -> tuple[float, float]:
    """Areas of one class from keys whose lowest bit says that the row has the class."""
    keys.sort()
    keys = keys[::-1]
    scores = keys >> 1
    last_of_tie = np.flatnonzero(scores[1:] != scores[:-1])
    ends = np.append(last_of_tie, len(keys) - 1)
    hits = np.cumsum(keys & 1, dtype=np.int64)[ends].astype(np.float64)
    seen = ends.astype(np.float64) + 1.0
    positives, negatives = hits[-1], seen[-1] - hits[-1]
    steps = np.diff(hits, prepend=0.0)
    average_precision = float(np.sum(steps * hits / seen) / positives) if positives else np.nan
    if not positives or not negatives:
        return np.nan, average_precision
    misses = seen - hits
    before = np.concatenate(([0.0], hits[:-1]))
    area = np.sum(np.diff(misses, prepend=0.0) * (hits + before)) / 2
    return float(area / (positives * negatives)), average_precision


def rank(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Ranking:
    """Rank rows by each class's score against the other classes' rows.

    A non-negative float32's bits sort as its value does, and use 31 of 32 bits: the label goes into
    the lowest, so that one sort of plain integers orders scores with their labels. Ties count half,
    as in scikit-learn.

    Args:
        scores: Shape (rows, classes), finite, not negative.
        labels: Shape (rows,).
    """
    count = scores.shape[1]
    # Adding zero turns -0.0 into 0.0, whose bits sort first.
    bits = np.ascontiguousarray(scores.T + np.float32(0)).view(np.uint32)
    areas = [_areas((bits[c] << 1) | (labels == c)) for c in range(count)]
    return Ranking(
        roc_auc=np.array([a for a, _ in areas]), average_precision=np.array([p for _, p in areas])
    )
