"""Scores of the folds of a k-fold run, with mean and spread."""

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator.record import CrossValidation, FoldScores, Spread
from linnet_evaluator.scores import confusion
from linnet_evaluator.scores.probabilities import check, loss_of_rows, normalise
from linnet_evaluator.stored.run_files import OutOfFold

_NAMES = ("accuracy", "loss", "balanced_accuracy", "mcc", "macro_f1")


def _fold(number: int, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> FoldScores:
    matrix = confusion.confusion_matrix(labels, scores.argmax(axis=1), scores.shape[1])
    sums = confusion.margins(matrix)
    return FoldScores(
        fold=number,
        sample_count=len(labels),
        accuracy=float(confusion.accuracy(sums)),
        loss=float(loss_of_rows(normalise(scores), labels).mean()),
        balanced_accuracy=float(confusion.balanced_accuracy(sums)),
        mcc=float(confusion.matthews(sums)),
        macro_f1=float(confusion.macro_f1(sums)),
    )


def _spread(values: NDArray[np.float64]) -> Spread:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(values.mean()), deviation, float(values.min()), float(values.max()))


def aggregate(found: OutOfFold, labels: NDArray[np.int64]) -> CrossValidation:
    """Score each fold's model on its own rows, and summarise over the folds.

    Args:
        found: Scores of every row by the model that did not train on it.
        labels: Actual class of every row of the dataset.

    Raises:
        InvalidInput: Scores are not finite or negative.
    """
    check(found.scores, found.rows)
    folds = []
    for number, fold in enumerate(np.unique(found.folds), start=1):
        on = found.folds == fold
        folds.append(_fold(number, found.scores[on], labels[found.rows[on]]))
    summary = {
        name: _spread(np.array([float(getattr(fold, name)) for fold in folds])) for name in _NAMES
    }
    return CrossValidation(tuple(folds), summary)
