"""Labels that are likely wrong, by confident learning.

A row is suspect when another class scores at least what that class's own rows score on average,
more than any other class that does (Northcutt, Jiang and Chuang, "Confident Learning", 2021). The
scores must come from models that did not train on the rows.
"""

import numpy as np
from numpy.typing import NDArray


def suspects(
    shares: NDArray[np.float64], labels: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find rows whose label is likely wrong.

    Args:
        shares: Row-normalised scores from validation or out-of-fold, shape (rows, classes).
        labels: Given labels, shape (rows,).
        limit: Most rows.

    Returns:
        Positions of the rows, most likely wrong first, and the class that each more likely has.
    """
    count = shares.shape[1]
    support = np.bincount(labels, minlength=count)
    own = shares[np.arange(len(labels)), labels]
    means = np.bincount(labels, weights=own, minlength=count) / np.maximum(support, 1)
    # A class without rows has no mean to pass.
    means = np.where(support > 0, means, np.inf)
    passing = np.where(shares >= means, shares, -1.0)
    suggested = passing.argmax(axis=1)
    best = passing[np.arange(len(labels)), suggested]
    found = np.flatnonzero((best >= 0) & (suggested != labels) & (best > own))
    order = np.argsort(own[found] - best[found], kind="stable")[:limit]
    return found[order], suggested[found[order]]
