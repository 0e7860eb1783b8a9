"""Scores that follow from a confusion matrix alone; rows = actual class, columns = predicted.

Every function takes one matrix or a stack of them, shape (..., classes, classes), so that a
bootstrap's thousand matrices are one call.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_matrix(actual: NDArray[np.int64], predicted: NDArray[np.int64], count: int) -> Counts:
    """Count rows by actual (first axis) and predicted class (second axis).

    Args:
        actual: Class of each row, shape (rows,), in [0, count).
        predicted: Predicted class of each row, the same.
        count: Number of classes; classes without rows keep their row and column.
    """
    cells = np.bincount(actual * count + predicted, minlength=count * count)
    return cells.reshape(count, count).astype(np.int64, copy=False)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; nothing over nothing is zero, as scikit-learn's `zero_division=0`."""
    out = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


@dataclass(frozen=True, slots=True)
class PerClass:
    """Scores of each class, each of shape (..., classes), in [0, 1]; zero where undefined."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats
    predicted: Floats


def per_class(matrix: NDArray[np.generic]) -> PerClass:
    """Precision, recall, F1 and support of each class."""
    cells = matrix.astype(np.float64)
    right = np.diagonal(cells, axis1=-2, axis2=-1)
    support, predicted = cells.sum(axis=-1), cells.sum(axis=-2)
    return PerClass(
        precision=_divide(right, predicted),
        recall=_divide(right, support),
        f1=_divide(2 * right, support + predicted),
        support=support,
        predicted=predicted,
    )


def accuracy(matrix: NDArray[np.generic]) -> Floats:
    """Share of rows on the diagonal."""
    cells = matrix.astype(np.float64)
    return _divide(np.trace(cells, axis1=-2, axis2=-1), cells.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: NDArray[np.generic]) -> Floats:
    """Mean recall over the classes that have rows."""
    scores = per_class(matrix)
    present = scores.support > 0
    return _divide((scores.recall * present).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def matthews(matrix: NDArray[np.generic]) -> Floats:
    """Matthews correlation coefficient of many classes (Gorodkin 2004); 0 where undefined."""
    cells = matrix.astype(np.float64)
    actual, predicted = cells.sum(axis=-1), cells.sum(axis=-2)
    total = actual.sum(axis=-1)
    right = np.trace(cells, axis1=-2, axis2=-1)
    covariance = right * total - (actual * predicted).sum(axis=-1)
    spread = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _divide(covariance, np.sqrt(spread))


def macro_f1(matrix: NDArray[np.generic]) -> Floats:
    """Unweighted mean of F1 over all classes."""
    means: Floats = per_class(matrix).f1.mean(axis=-1)
    return means
