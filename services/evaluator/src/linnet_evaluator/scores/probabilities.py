"""Scores that ask how far probabilities can be trusted."""

from dataclasses import dataclass

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import ArrayLike, NDArray

CLIP = 1e-7
"""Least probability in the log loss; the same as in Keras' categorical cross-entropy."""
ECE_BINS = 15

_NAMED_ROWS = 10


@dataclass(frozen=True, slots=True)
class Trust:
    """Log loss, Brier score, calibration error, and rows whose actual class scored zero."""

    loss: float
    brier: float
    ece: float
    zero_score_count: int


def both_classes(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give two columns where there is one, the score of class 1 of two as a sigmoid gives it."""
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.shape[1:] != (1,):
        return scores
    return np.concatenate([np.float32(1) - scores, scores], axis=1)


def _name_rows(wrong: ArrayLike, names: NDArray[np.int64] | None) -> str:
    rows = np.flatnonzero(wrong)
    rows = rows if names is None else names[rows]
    named = ", ".join(str(row) for row in rows[:_NAMED_ROWS])
    return f"{len(rows)} rows: {named}{', ...' if len(rows) > _NAMED_ROWS else ''}"


def check(scores: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> None:
    """Refuse scores that are no shares of belief.

    Args:
        scores: Shape (rows, classes).
        rows: What errors call each row; their places by default.

    Raises:
        InvalidInput: Some are not finite (SCORES_NOT_FINITE) or negative (SCORES_NEGATIVE); names
            the rows.
    """
    wrong = ~np.isfinite(scores).all(axis=1)
    if wrong.any():
        raise InvalidInput.of(
            "scores",
            f"expected finite scores, received NaN or infinity in {_name_rows(wrong, rows)}",
            reason="SCORES_NOT_FINITE",
        )
    wrong = scores.min(axis=1, initial=0.0) < 0
    if wrong.any():
        raise InvalidInput.of(
            "scores",
            "expected scores of at least 0, as softmax gives, or one sigmoid's in [0, 1], received "
            f"others in {_name_rows(wrong, rows)}",
            reason="SCORES_NEGATIVE",
        )


def normalise(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Divide each row by its sum, as int8 scores need; a row of zeros stays one."""
    wide = scores.astype(np.float64)
    sums = wide.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(wide, sums, out=wide, where=sums > 0)
    return shares


def loss_of_rows(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the log loss of each row, its share clipped to [1e-7, 1 - 1e-7], shape (rows,)."""
    of_actual = shares[np.arange(len(labels)), labels]
    losses: NDArray[np.float64] = -np.log(np.clip(of_actual, CLIP, 1 - CLIP))
    return losses


def trust(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> Trust:
    """Compare probabilities with what was the case.

    The Brier score sums over the classes, and is halved for two classes, as scikit-learn's. The
    expected calibration error has 15 bins of equal width over the top share, each (low, high].

    Args:
        shares: Row-normalised scores, shape (rows, classes).
        labels: Shape (rows,).
    """
    rows, count = shares.shape
    of_actual = shares[np.arange(rows), labels]
    squares = np.einsum("ij,ij->i", shares, shares) - 2 * of_actual + 1
    brier = float(squares.mean()) / (2 if count == 2 else 1)  # noqa: PLR2004 (two classes)
    top = shares.max(axis=1)
    right = shares.argmax(axis=1) == labels
    bins = np.clip(np.ceil(top * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - top, minlength=ECE_BINS)
    return Trust(
        loss=float(loss_of_rows(shares, labels).mean()),
        brier=brier,
        ece=float(np.abs(gaps).sum() / rows),
        zero_score_count=int((of_actual == 0).sum()),
    )
