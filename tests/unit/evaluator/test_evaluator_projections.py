"""Projections: exact neighbours, exact components, pictures that keep neighbours."""

import numpy as np
import pytest
from linnet_evaluator.exploring import projections
from linnet_evaluator.exploring.neighbours import nearest
from linnet_evaluator.exploring.principal import principal
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def _one_thread():
    """As in the sandbox's child; spinning threads of a busy machine take minutes."""
    with threadpool_limits(1):
        yield


def _blobs(rows, values, seed=0, classes=6):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, values)) * 3
    return (centres[random.integers(0, classes, rows)] + random.normal(size=(rows, values))).astype(
        np.float32
    )


@pytest.mark.parametrize(("rows", "values"), [(40, 3), (1500, 20), (5000, 8)])
def test_neighbours_are_exact(rows, values):
    """Distances are scikit-learn's; each point is its own nearest."""
    points = _blobs(rows, values)
    indices, distances = nearest(points, 15)
    expected, _ = NearestNeighbors(n_neighbors=15).fit(points).kneighbors(points)
    assert indices[:, 0].tolist() == list(range(rows))
    assert distances == pytest.approx(expected, abs=5e-3)


def test_neighbours_of_other_points():
    """Queries that are no points of the set find the nearest of it."""
    points, queries = _blobs(3000, 10), _blobs(100, 10, seed=1)
    indices, distances = nearest(points, 5, queries)
    expected, where = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(queries)
    assert distances == pytest.approx(expected, abs=5e-3)
    assert (indices == where).mean() > 0.99


def test_equal_points_are_no_trouble():
    """Thousands of equal rows give neighbours at distance zero, not a sort of everything."""
    points = np.ones((4000, 5), np.float32)
    indices, distances = nearest(points, 15)
    assert indices[:, 0].tolist() == list(range(4000))
    assert distances.max() < 1e-2


@pytest.mark.parametrize("values", [12, 3000])
def test_components_are_those_of_pca(values):
    """Rows on the first components are scikit-learn's but for signs, wide rows included."""
    points = _blobs(300, values)
    found = principal(points, 4)
    expected = PCA(4).fit(points)
    turned = expected.transform(points)
    assert np.abs(found.rows) == pytest.approx(np.abs(turned), rel=1e-2, abs=5e-2)
    assert found.explained == pytest.approx(expected.explained_variance_ratio_, rel=1e-3)


@pytest.mark.parametrize(("method", "least"), [("pca", 0.8), ("umap", 0.9), ("tsne", 0.9)])
def test_pictures_keep_neighbours(method, least):
    """Trustworthiness of 300 clustered rows is high, and two runs give the same picture."""
    points = _blobs(300, 30)
    found, fitted, _ = projections.project(points, method)
    assert found.shape == (300, 2)
    assert fitted == 300
    assert trustworthiness(points, found, n_neighbors=10) > least
    again, _, _ = projections.project(points, method)
    assert (found == again).all()


def test_rows_beyond_the_limit_are_placed_among_neighbours(monkeypatch):
    """Rows that were not fitted land where their neighbours are."""
    monkeypatch.setattr(projections, "FITTED_ROWS", 500)
    points = _blobs(1500, 20)
    found, fitted, _ = projections.project(points, "umap")
    assert fitted == 500
    assert trustworthiness(points, found, n_neighbors=10) > 0.85


@pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
@pytest.mark.parametrize("shape", [(1, 4), (2, 1), (3, 2), (5, 1), (20, 1), (30, 3)])
def test_few_rows_and_few_values(method, shape):
    """Any small table gives a finite picture."""
    points, _, _ = projections.project(_blobs(*shape), method)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()


def test_constant_rows_give_a_finite_picture():
    """A table without variance gives finite points."""
    points, _, _ = projections.project(np.ones((60, 6), np.float32), "umap")
    assert np.isfinite(points).all()
