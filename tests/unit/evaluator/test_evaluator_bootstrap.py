"""Bootstrap intervals against re-sampling rows one by one."""

import numpy as np
import pytest
from linnet_evaluator.scores import bootstrap, confusion


def _case(rows=400, classes=4, seed=0):
    random = np.random.default_rng(seed)
    actual = random.integers(0, classes, rows)
    predicted = np.where(random.random(rows) < 0.7, actual, random.integers(0, classes, rows))
    return actual, predicted


def _by_indexing(actual, predicted, draws, groups=None):
    """Draw rows, or whole groups, with replacement and score each draw."""
    random = np.random.default_rng(1)
    members = (
        [np.flatnonzero(groups == g) for g in np.unique(groups)] if groups is not None else None
    )
    found = {name: [] for name in bootstrap.STATISTICS}
    for _ in range(draws):
        if members is None:
            rows = random.integers(0, len(actual), len(actual))
        else:
            rows = np.concatenate(
                [members[i] for i in random.integers(0, len(members), len(members))]
            )
        sums = confusion.margins(confusion.confusion_matrix(actual[rows], predicted[rows], 4))
        for name, of in bootstrap.STATISTICS.items():
            found[name].append(float(of(sums)))
    return {name: np.quantile(values, [0.025, 0.975]) for name, values in found.items()}


@pytest.mark.parametrize("rows", [400, 700])
def test_drawing_matrices_is_drawing_rows(rows):
    """Each end is that of re-sampled rows, within the noise of 2,000 draws, few rows or many."""
    actual, predicted = _case(rows)
    found = bootstrap.intervals(actual, predicted, 4)
    for name, (low, high) in _by_indexing(actual, predicted, 2000).items():
        assert found[name] == pytest.approx((low, high), abs=0.012)


def test_groups_are_drawn_whole():
    """With groups each end is that of re-sampled groups, and wider where groups differ."""
    actual, predicted = _case(seed=3)
    groups = np.arange(400) // 20
    bad = groups < 6
    predicted[bad] = (actual[bad] + 1) % 4
    found = bootstrap.intervals(actual, predicted, 4, groups)
    for name, (low, high) in _by_indexing(actual, predicted, 2000, groups).items():
        assert found[name] == pytest.approx((low, high), abs=0.02)
    alone = bootstrap.intervals(actual, predicted, 4)
    width = found["accuracy"][1] - found["accuracy"][0]
    assert width > 2 * (alone["accuracy"][1] - alone["accuracy"][0])


def test_every_row_a_group_is_no_group():
    """Groups of one row give the intervals of rows, however many groups there are."""
    actual, predicted = _case()
    grouped = bootstrap.intervals(actual, predicted, 4, np.arange(400))
    alone = bootstrap.intervals(actual, predicted, 4)
    for name, ends in alone.items():
        assert grouped[name] == pytest.approx(ends, abs=0.012)


def test_many_small_groups_are_drawn_alike():
    """The two ways of drawing groups, by kind and one by one, have the same distribution."""
    random = np.random.default_rng(2)
    cells = random.integers(0, 3, 4000)
    groups = np.repeat(np.arange(2000), 2)
    by_kind = bootstrap.draw(cells, np.eye(3), groups, draws=2000, seed=5)
    cells_unlike = np.concatenate([cells, np.full(1, 2)])
    groups_unlike = np.concatenate([groups, np.full(1, 2000)])
    assert by_kind.sum(axis=1) == pytest.approx(np.full(2000, 4000.0))
    one_by_one = bootstrap.draw(cells_unlike, np.eye(3), groups_unlike, draws=2000, seed=5)
    assert by_kind.mean(axis=0) == pytest.approx(one_by_one.mean(axis=0), rel=0.01)
    assert by_kind.std(axis=0) == pytest.approx(one_by_one.std(axis=0), rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    """Nothing but the seed decides."""
    actual, predicted = _case()
    assert bootstrap.intervals(actual, predicted, 4) == bootstrap.intervals(actual, predicted, 4)
    other = bootstrap.intervals(actual, predicted, 4, seed=1)
    assert other != bootstrap.intervals(actual, predicted, 4)


def test_a_sure_score_has_no_width():
    """All right: both ends are 1."""
    actual, _ = _case()
    assert bootstrap.intervals(actual, actual, 4)["accuracy"] == (1.0, 1.0)
