"""All scores of one set of rows, from class scores and labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import ArrayLike, NDArray

from linnet_evaluator.scores import bootstrap, confusion, probabilities
from linnet_evaluator.scores.confusion import PerClass
from linnet_evaluator.scores.probabilities import Trust, both_classes
from linnet_evaluator.scores.ranking import Ranking, rank

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class Averages:
    """Scores averaged over classes; None where the areas are undefined."""

    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class Scoring:
    """All scores of one set of rows.

    Attributes:
        confusion: Counts, shape (classes, classes), rows = actual, columns = predicted.
        predicted: Class of the highest score of each row, the lowest index at ties.
        intervals: 95 % bootstrap intervals by name of the score.
    """

    accuracy: float
    balanced_accuracy: float
    mcc: float
    trust: Trust
    confusion: NDArray[np.int64]
    classes: PerClass
    ranking: Ranking
    macro: Averages
    weighted: Averages
    intervals: dict[str, tuple[float, float]]
    predicted: NDArray[np.int64]


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidInput.of(name, f"expected an array, received rows unlike: {error}") from error


def number_groups(groups: ArrayLike) -> NDArray[np.int64]:
    """Number groups of any kind from 0, in order of their names.

    Raises:
        InvalidInput: They are neither numbers nor text.
    """
    names = _array(groups, "groups")
    try:
        return np.unique(names, return_inverse=True)[1].astype(np.int64).reshape(names.shape)
    except TypeError as error:
        raise InvalidInput.of(
            "groups", f"expected numbers or text, received both or others: {error}"
        ) from error


def _floats(scores: ArrayLike) -> NDArray[np.float32]:
    values = _array(scores, "scores")
    if values.dtype.kind not in "fiu":
        raise InvalidInput.of("scores", f"expected numbers, received {values.dtype}")
    with np.errstate(over="ignore"):  # too large for float32 is infinite, which is refused by row
        values = values.astype(np.float32, copy=False)
    return both_classes(values) if values.ndim else values


def _check(
    scores: NDArray[np.float32], labels: NDArray[Any], rows: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    if scores.ndim != _MATRIX or scores.shape[1] < _MATRIX or not len(scores):
        raise InvalidInput.of(
            "scores",
            f"expected shape (rows, classes), or one column for two classes, received "
            f"{scores.shape}",
        )
    if labels.shape != (len(scores),):
        raise InvalidInput.of(
            "labels", f"expected shape ({len(scores)},) as scores have, received {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise InvalidInput.of("labels", f"expected integers, received {labels.dtype}")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise InvalidInput.of(
            "labels",
            f"expected indices from 0 to {scores.shape[1] - 1}, received {labels.min()} to "
            f"{labels.max()}",
        )
    probabilities.check(scores, rows)
    return labels.astype(np.int64)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float | None:
    """Average over classes; a class without rows has weight zero and needs no value."""
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    if np.isnan(values).any():
        return None
    return _average(values, weights)


def _average(values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    if weights is None:
        return float(values.sum() / len(values))
    return float(values @ weights / weights.sum())


def _averages(classes: PerClass, ranking: Ranking, weights: NDArray[np.float64] | None) -> Averages:
    return Averages(
        precision=_average(classes.precision, weights),
        recall=_average(classes.recall, weights),
        f1=_average(classes.f1, weights),
        roc_auc=_mean(ranking.roc_auc, weights),
        average_precision=_mean(ranking.average_precision, weights),
    )


def score_all(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    rows: NDArray[np.int64] | None = None,
    draws: int = bootstrap.DRAWS,
    seed: int = bootstrap.SEED,
) -> Scoring:
    """Compute every score of a set of rows.

    Predictions, areas and thresholds use the scores as they come; loss, Brier and calibration
    error use them divided by their row's sum.

    Args:
        scores: Shape (rows, classes), finite, not negative; float32 is enough. One column, or
            shape (rows,), holds the score of class 1 of two, in [0, 1].
        labels: Actual classes, integers, shape (rows,), in [0, classes).
        groups: Subject or recording of each row, any type, shape (rows,); the intervals then draw
            whole groups.
        rows: What errors call each row, such as its index in the dataset; its place by default.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        InvalidInput: A shape, type or value is wrong; non-finite scores name their rows.
    """
    values = _floats(scores)
    actual = _check(values, _array(labels, "labels"), rows)
    numbers = None if groups is None else number_groups(groups)
    if numbers is not None and numbers.shape != actual.shape:
        raise InvalidInput.of(
            "groups", f"expected shape {actual.shape} as labels have, received {numbers.shape}"
        )
    count = values.shape[1]
    predicted = values.argmax(axis=1)
    matrix = confusion.confusion_matrix(actual, predicted, count)
    sums = confusion.margins(matrix)
    classes = confusion.per_class(sums)
    ranking = rank(values, actual)
    return Scoring(
        accuracy=float(confusion.accuracy(sums)),
        balanced_accuracy=float(confusion.balanced_accuracy(sums)),
        mcc=float(confusion.matthews(sums)),
        trust=probabilities.trust(probabilities.normalise(values), actual),
        confusion=matrix,
        classes=classes,
        ranking=ranking,
        macro=_averages(classes, ranking, None),
        weighted=_averages(classes, ranking, classes.support),
        intervals=bootstrap.intervals(actual, predicted, count, numbers, draws=draws, seed=seed),
        predicted=predicted,
    )


def _averages_dict(averages: Averages) -> dict[str, float | None]:
    return {
        "precision": averages.precision,
        "recall": averages.recall,
        "f1": averages.f1,
        "roc_auc": averages.roc_auc,
        "average_precision": averages.average_precision,
    }


def as_dict(scoring: Scoring) -> dict[str, Any]:
    """Give the JSON form that `linnet evaluate --json` prints."""
    classes = scoring.classes
    return {
        "accuracy": scoring.accuracy,
        "loss": scoring.trust.loss,
        "confusion": scoring.confusion.tolist(),
        "balanced_accuracy": scoring.balanced_accuracy,
        "mcc": scoring.mcc,
        "macro": _averages_dict(scoring.macro),
        "weighted": _averages_dict(scoring.weighted),
        "brier": scoring.trust.brier,
        "ece": scoring.trust.ece,
        "classes": [
            {"precision": p, "recall": r, "f1": f, "support": int(n)}
            for p, r, f, n in zip(
                classes.precision.tolist(),
                classes.recall.tolist(),
                classes.f1.tolist(),
                classes.support.tolist(),
                strict=True,
            )
        ],
        "intervals": {name: list(ends) for name, ends in scoring.intervals.items()},
    }


def score(
    scores: ArrayLike | Sequence[Sequence[float]],
    labels: ArrayLike,
    groups: ArrayLike | None = None,
) -> dict[str, Any]:
    """Score class scores against labels; the same object as `linnet evaluate --json` prints.

    `confusion` holds counts, rows = actual class, columns = predicted. `roc_auc` and
    `average_precision` are one-vs-rest; the macro mean is None where a class has no rows.

    Args:
        scores: Shape (rows, classes), finite, not negative; they need not add up to 1. One column,
            or shape (rows,), holds the score of class 1 of two, in [0, 1], as a sigmoid gives it.
        labels: Actual classes, integers, shape (rows,).
        groups: Subject or recording of each row; the intervals then draw whole groups.

    Raises:
        InvalidInput: A shape, type or value is wrong; non-finite scores name their rows.
    """
    return as_dict(score_all(scores, labels, groups))
