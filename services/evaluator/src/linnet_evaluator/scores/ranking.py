"""One-vs-rest areas under curves, from scores, by one sort of each class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROWS_AT_ONCE = 1 << 15


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


def _areas(keys: NDArray[np.uint32]) -> tuple[Floats, Floats]:
    """Areas from keys, (classes, rows), whose lowest bit says that the row has the class."""
    keys.sort(axis=1)
    keys = keys[:, ::-1]
    rows = keys.shape[1]
    last_of_tie = np.ones(keys.shape, dtype=bool)
    np.not_equal(keys[:, 1:] >> 1, keys[:, :-1] >> 1, out=last_of_tie[:, :-1])
    hits = np.cumsum(keys & 1, axis=1, dtype=np.float64)
    seen = np.arange(1.0, rows + 1)
    # Hits at the end of the tie before: hits never fall, so a running maximum carries them on.
    before = np.zeros(hits.shape)
    np.multiply(hits[:, :-1], last_of_tie[:, :-1], out=before[:, 1:])
    np.maximum.accumulate(before, axis=1, out=before)
    positives = hits[:, -1].copy()
    negatives = rows - positives
    steps = (hits - before) * last_of_tie
    precise = np.einsum("ij,ij->i", steps, hits / seen)
    # Pairs that a tie orders rightly: its hits against all misses below it, half against its own.
    misses = seen - hits
    missed = np.zeros(hits.shape)
    np.multiply(misses[:, :-1], last_of_tie[:, :-1], out=missed[:, 1:])
    np.maximum.accumulate(missed, axis=1, out=missed)
    ordered = np.einsum("ij,ij->i", (misses - missed) * last_of_tie, hits + before) / 2
    undefined = np.full(len(keys), np.nan)
    pairs = positives * negatives
    return (
        np.divide(ordered, pairs, out=undefined.copy(), where=pairs > 0),
        np.divide(precise, positives, out=undefined, where=positives > 0),
    )


def rank(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Ranking:
    """Rank rows by each class's score against the other classes' rows.

    A non-negative float32's bits sort as its value does, and use 31 of 32 bits: the label goes into
    the lowest, so that one sort of plain integers orders scores with their labels. Ties count half,
    as in scikit-learn.

    Args:
        scores: Shape (rows, classes), finite, not negative.
        labels: Shape (rows,).
    """
    # Adding zero turns -0.0 into 0.0, whose bits sort first.
    bits = np.ascontiguousarray(scores.T + np.float32(0)).view(np.uint32)
    classes = np.arange(len(bits))[:, None]
    keys = (bits << 1) | (labels == classes)
    # So many classes at once as fit into a processor's cache.
    step = max(1, _ROWS_AT_ONCE // max(1, len(labels)))
    parts = [_areas(keys[i : i + step]) for i in range(0, len(keys), step)]
    areas, precisions = zip(*parts, strict=True)
    return Ranking(roc_auc=np.concatenate(areas), average_precision=np.concatenate(precisions))
