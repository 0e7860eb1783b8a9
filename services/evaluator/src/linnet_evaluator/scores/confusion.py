"""Scores that follow from a confusion matrix alone; rows = actual class, columns = predicted.

Everything works on one matrix or a stack of them, shape (..., classes, classes), so that a
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
    # Of counts, so that only nothing is ever divided by nothing; `where=` takes twice as long.
    return np.asarray(numerator / np.where(denominator == 0, 1.0, denominator))


@dataclass(frozen=True, slots=True)
class Margins:
    """What every score needs of a matrix, each of shape (..., classes).

    Attributes:
        right: Rows of each class that are predicted as it, the diagonal.
        support: Rows of each class.
        predicted: Rows that are predicted as each class.
    """

    right: Floats
    support: Floats
    predicted: Floats

    @property
    def total(self) -> Floats:
        """All rows, shape (...)."""
        rows: Floats = self.support.sum(axis=-1)
        return rows


def margins(matrix: NDArray[np.generic]) -> Margins:
    """Sum a matrix, or a stack of them."""
    cells = matrix.astype(np.float64)
    return Margins(
        right=np.ascontiguousarray(np.diagonal(cells, axis1=-2, axis2=-1)),
        support=cells.sum(axis=-1),
        predicted=cells.sum(axis=-2),
    )


@dataclass(frozen=True, slots=True)
class PerClass:
    """Scores of each class, each of shape (..., classes), in [0, 1]; zero where undefined."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats


def per_class(of: Margins) -> PerClass:
    """Precision, recall, F1 and support of each class."""
    return PerClass(
        precision=_divide(of.right, of.predicted),
        recall=_divide(of.right, of.support),
        f1=_divide(2 * of.right, of.support + of.predicted),
        support=of.support,
    )


def accuracy(of: Margins) -> Floats:
    """Share of rows on the diagonal."""
    return _divide(of.right.sum(axis=-1), of.total)


def balanced_accuracy(of: Margins) -> Floats:
    """Mean recall over the classes that have rows."""
    present = (of.support > 0).sum(axis=-1).astype(np.float64)
    return _divide(_divide(of.right, of.support).sum(axis=-1), present)


def matthews(of: Margins) -> Floats:
    """Matthews correlation coefficient of many classes (Gorodkin 2004); 0 where undefined."""
    total = of.total
    squared = total**2
    covariance = of.right.sum(axis=-1) * total - (of.support * of.predicted).sum(axis=-1)
    spread = (squared - (of.support**2).sum(axis=-1)) * (squared - (of.predicted**2).sum(axis=-1))
    return _divide(covariance, np.sqrt(spread))


def macro_f1(of: Margins) -> Floats:
    """Unweighted mean of F1 over all classes."""
    means: Floats = _divide(2 * of.right, of.support + of.predicted).mean(axis=-1)
    return means
