"""Projections to two axes; runs inside a warm sandbox's child.

PCA, and on its first components UMAP or t-SNE. Neighbours are exact and found here, UMAP starts
from the two first components: both cost a fraction of what the libraries' own ways do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastumap import projection as umap
from numpy.typing import NDArray

from linnet_evaluator.exploring.neighbours import nearest
from linnet_evaluator.exploring.principal import principal

FITTED_ROWS = 20_000
TSNE_ROWS = 5_000
SEED = 7

_UMAP_COMPONENTS = 64
_TSNE_COMPONENTS = 50
_NEIGHBOURS = 15
_EPOCHS = 120
_PLACING_NEIGHBOURS = 5
_START_SIZE = 10.0  # extent of the start that UMAP's own initialisation has
_JITTER = 1e-4  # tells equal rows apart
_AXES = 2


def _umap(components: NDArray[np.float32]) -> NDArray[np.float64]:
    count = min(_NEIGHBOURS, len(components))
    neighbours = nearest(components, count)
    random = np.random.Generator(np.random.PCG64(SEED))
    start = components[:, :_AXES].astype(np.float64)
    start *= _START_SIZE / (np.abs(start).max() or 1.0)
    start += random.normal(size=start.shape) * _JITTER
    model = umap.fit(
        components,
        _AXES,
        random_state=SEED,
        precomputed_knn=neighbours,
        init=start,
        n_epochs=_EPOCHS,
    )
    return np.asarray(model.embedding)


def _tsne(components: NDArray[np.float32]) -> NDArray[np.float64]:
    # A second of imports for minutes of work: not worth a place in the zygote.
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(components) - 1) / 3))
    fitted = TSNE(_AXES, perplexity=perplexity, init="pca", random_state=SEED, n_jobs=1)
    return np.asarray(fitted.fit_transform(components), dtype=np.float64)


def _place(
    components: NDArray[np.float32], fitted: NDArray[np.int64], placed: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Put the rows that were not fitted among their nearest fitted neighbours."""
    out = np.empty((len(components), _AXES), np.float32)
    out[fitted] = placed
    rest = np.setdiff1d(np.arange(len(components)), fitted)
    if rest.size:
        count = min(_PLACING_NEIGHBOURS, len(fitted))
        indices, distances = nearest(components[fitted], count, components[rest])
        weights = 1 / (distances + 1e-9)
        weights /= weights.sum(axis=1, keepdims=True)
        out[rest] = np.einsum("ij,ijk->ik", weights, placed[indices])
    return out


def project(
    matrix: NDArray[np.float32], method: str
) -> tuple[NDArray[np.float32], int, list[float]]:
    """Project rows to two axes.

    Args:
        matrix: Shape (rows, values), finite.
        method: `pca`, `umap` or `tsne`.

    Returns:
        Points, float32, shape (rows, 2); how many rows the projection was computed from; for PCA
        the share of variance along each axis.
    """
    rows = len(matrix)
    if method == "pca" or rows <= _AXES + 1:
        found = principal(matrix, _AXES)
        points = np.zeros((rows, _AXES), np.float32)
        points[:, : found.rows.shape[1]] = found.rows
        shares = found.explained.tolist()
        return points, rows, [*shares, *[0.0] * (_AXES - len(shares))]
    limit, width = (
        (FITTED_ROWS, _UMAP_COMPONENTS) if method == "umap" else (TSNE_ROWS, _TSNE_COMPONENTS)
    )
    components = principal(matrix, width).rows
    if components.shape[1] < _AXES:
        components = np.pad(components, ((0, 0), (0, _AXES - components.shape[1])))
    random = np.random.Generator(np.random.PCG64(SEED))
    fitted = np.arange(rows)
    if rows > limit:
        fitted = np.sort(random.choice(rows, limit, replace=False))
    placed = (_umap if method == "umap" else _tsne)(components[fitted])
    return _place(components, fitted, placed), len(fitted), []


def run(
    arguments: dict[str, Any], inputs: Sequence[memoryview]
) -> tuple[dict[str, Any], list[memoryview]]:
    """Project rows; the sandbox's form of `project`.

    Args:
        arguments: `method` and `values`, the values of a row.
        inputs: The rows as float32 bytes.
    """
    matrix = np.frombuffer(inputs[0], np.float32).reshape(-1, int(arguments["values"]))
    points, fitted, explained = project(matrix, str(arguments["method"]))
    return {"fitted": fitted, "explained": explained}, [np.ascontiguousarray(points).data]
