"""What a threshold on the top score does, for all thresholds at once and from scores alone.

A row whose top score is below the threshold of its predicted class is uncertain: it counts as
missed in recall, and not at all in precision.
"""

from dataclasses import dataclass

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.scores import confusion

GRID: NDArray[np.float64] = np.arange(101) / 100.0
GRID.setflags(write=False)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Scores at each of the 101 thresholds.

    Attributes:
        precision: Of the rows that are certain, shape (101, classes).
        recall: Shape (101, classes).
        f1: Shape (101, classes).
        certain_share: Share of rows that are certain, shape (101,).
    """

    precision: Floats
    recall: Floats
    f1: Floats
    certain_share: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """What thresholds do on one set.

    Attributes:
        thresholds: One for all classes, or one a class.
        confusion: Counts of certain rows, rows = actual class, columns = predicted.
        uncertain: Uncertain rows by actual class, the matrix's last column.
    """

    thresholds: tuple[float, ...]
    confusion: NDArray[np.int64]
    uncertain: NDArray[np.int64]
    certain_share: float
    certain_accuracy: float
    precision: float
    recall: float
    f1: float


def _top(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], Floats]:
    predicted = scores.argmax(axis=1)
    return predicted, scores[np.arange(len(scores)), predicted].astype(np.float64)


def _scores_of(matrices: NDArray[np.int64], support: Floats) -> tuple[Floats, Floats, Floats]:
    cells = matrices.astype(np.float64)
    right = np.diagonal(cells, axis1=-2, axis2=-1)
    predicted = cells.sum(axis=-2)
    zero = np.zeros_like(right)
    return (
        np.divide(right, predicted, out=zero.copy(), where=predicted > 0),
        np.divide(right, support, out=zero.copy(), where=np.broadcast_to(support > 0, right.shape)),
        np.divide(2 * right, predicted + support, out=zero, where=predicted + support > 0),
    )


def sweep(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Sweep:
    """Compute precision, recall and F1 of every class at the thresholds 0.00 to 1.00.

    One histogram over (last threshold that the row passes, actual, predicted), summed from the top,
    gives all 101 confusion matrices.

    Args:
        scores: Shape (rows, classes).
        labels: Shape (rows,).
    """
    count = scores.shape[1]
    predicted, top = _top(scores)
    level = np.searchsorted(GRID, top, side="right") - 1
    cells = np.bincount(
        (level * count + labels) * count + predicted, minlength=len(GRID) * count * count
    ).reshape(len(GRID), count, count)
    matrices = cells[::-1].cumsum(axis=0)[::-1]
    support = np.bincount(labels, minlength=count).astype(np.float64)
    precision, recall, f1 = _scores_of(matrices, support)
    return Sweep(precision, recall, f1, matrices.sum(axis=(1, 2)) / len(labels))


def suggest(found: Sweep) -> tuple[float, tuple[float, ...]]:
    """Choose the threshold of the highest macro F1, and each class's own; the lowest of equals."""
    overall = float(GRID[int(found.f1.mean(axis=1).argmax())])
    return overall, tuple(float(GRID[i]) for i in found.f1.argmax(axis=0))


def apply(
    scores: NDArray[np.float32], labels: NDArray[np.int64], thresholds: tuple[float, ...]
) -> Outcome:
    """Say what thresholds do.

    Args:
        scores: Shape (rows, classes).
        labels: Shape (rows,).
        thresholds: One for all classes, or one a class, each in [0, 1].

    Raises:
        InvalidInput: Their number is neither 1 nor that of the classes.
    """
    count = scores.shape[1]
    if len(thresholds) not in {1, count}:
        raise InvalidInput.of(
            "thresholds", f"expected 1 or {count} of them, received {len(thresholds)}"
        )
    predicted, top = _top(scores)
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (count,))
    certain = top >= limits[predicted]
    matrix = confusion.confusion_matrix(labels[certain], predicted[certain], count)
    support = np.bincount(labels, minlength=count)
    precision, recall, f1 = _scores_of(matrix, support.astype(np.float64))
    return Outcome(
        thresholds=thresholds,
        confusion=matrix,
        uncertain=support - matrix.sum(axis=1),
        certain_share=float(certain.mean()),
        certain_accuracy=float(confusion.accuracy(confusion.margins(matrix))),
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        f1=float(f1.mean()),
    )
