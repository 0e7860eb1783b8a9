"""Exact nearest neighbours by blocks of one matrix product."""

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 512
_PROBE_COLUMNS = 2048

_TIED_SHARE = 0.2

Found = tuple[NDArray[np.int64], NDArray[np.float64]]


def nearest(
    among: NDArray[np.float32],
    count: int,
    queries: NDArray[np.float32] | None = None,
) -> Found:
    """Find each query's nearest points by Euclidean distance, nearest first.

    A full partition of each row of distances would cost most of the time. The count-th smallest
    distance to every tenth point or so is no smaller than the one to all points; only the few
    points below that bound are sorted.

    Args:
        among: Points, shape (points, axes); at least `count`.
        count: Neighbours of each query.
        queries: Shape (queries, axes). None takes every point, itself first at distance 0.

    Returns:
        Indices and distances, each of shape (queries, count).
    """
    itself = queries is None
    asked = among if queries is None else queries
    squares = np.einsum("ij,ij->i", among, among)
    doubled = np.ascontiguousarray(-2 * among.T)
    indices = np.empty((len(asked), count), np.int64)
    distances = np.empty((len(asked), count))
    stride = max(1, len(among) // max(_PROBE_COLUMNS, 2 * count))
    for start in range(0, len(asked), _BLOCK_ROWS):
        block = asked[start : start + _BLOCK_ROWS]
        gaps = block @ doubled
        gaps += squares
        places = np.arange(len(block))
        if itself:
            gaps[places, start + places] = -np.inf
        bound = np.partition(gaps[:, ::stride], count - 1, axis=1)[:, count - 1 : count]
        below = np.flatnonzero(gaps <= bound)
        if len(below) > _TIED_SHARE * gaps.size:  # most points coincide: ties at the bound
            below = _partitioned(gaps, count)
        rows, columns = np.divmod(below, len(among))
        values = gaps[rows, columns]
        order = np.lexsort((values, rows))
        take = np.searchsorted(rows, places)[:, None] + np.arange(count)
        chosen = order[take]
        indices[start : start + len(block)] = columns[chosen]
        own = np.einsum("ij,ij->i", block, block)
        squared = values[chosen].astype(np.float64) + own[:, None]
        distances[start : start + len(block)] = np.sqrt(np.maximum(squared, 0))
    return indices, distances


def _partitioned(gaps: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    columns = np.sort(np.argpartition(gaps, count - 1, axis=1)[:, :count], axis=1)
    flat: NDArray[np.intp] = (np.arange(len(gaps))[:, None] * gaps.shape[1] + columns).ravel()
    return flat
