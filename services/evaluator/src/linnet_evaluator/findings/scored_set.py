"""Scores of one variant on one set of rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """Rows with labels and scores.

    Attributes:
        rows: Row indices in the dataset, int64, shape (rows,).
        labels: Actual classes, int64, shape (rows,).
        scores: Float32, shape (rows, classes).
        predicted: Class of the highest score, the lowest index at ties, shape (rows,).
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    predicted: NDArray[np.int64]

    @classmethod
    def of(
        cls, rows: NDArray[np.int64], labels: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> "ScoredSet":
        """Make a set and its predictions."""
        return cls(rows, labels, scores, scores.argmax(axis=1))
