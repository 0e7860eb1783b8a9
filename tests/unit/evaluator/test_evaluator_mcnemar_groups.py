"""The interval of an accuracy difference does not vanish where groups are few."""

import numpy as np
from linnet_evaluator.scores.mcnemar import paired_interval


def test_three_groups_without_a_net_change_keep_a_width():
    """Rows flip both ways in each of three groups: the interval is that of single rows at least."""
    rng = np.random.default_rng(1)
    first = rng.random(900) < 0.8
    second = first.copy()
    groups = np.repeat(np.arange(3), 300)
    for group in range(3):
        inside = np.flatnonzero(groups == group)
        second[inside[first[inside]][:5]] = False
        second[inside[~first[inside]][:5]] = True

    low, high = paired_interval(first, second, groups)

    assert low < -0.003
    assert high > 0.003


def test_many_groups_are_drawn_whole():
    """With many groups the interval is wider than that of single rows when rows move together."""
    groups = np.repeat(np.arange(20), 50)
    first = np.zeros(1000, dtype=bool)
    second = groups % 2 == 0

    grouped = paired_interval(first, second, groups)
    single = paired_interval(first, second, None)

    assert grouped[1] - grouped[0] > 3 * (single[1] - single[0])
