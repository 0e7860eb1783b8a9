"""Thresholds, comparisons, label errors, groups and folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet_evaluator.findings import comparison, cross_validation
from linnet_evaluator.findings.group_scores import score_groups
from linnet_evaluator.findings.row_groups import Groups
from linnet_evaluator.record import SplitSide, Variant
from linnet_evaluator.scores import label_errors, mcnemar, thresholds
from linnet_evaluator.scores.binomial import lower_tail, wilson
from linnet_evaluator.scores.scoring import score_all
from linnet_evaluator.stored.run_files import OutOfFold
from linnet_runtime.errors import InvalidInput
from scipy import stats


def _case(rows=300, classes=4, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    scores = random.dirichlet(np.full(classes, 0.6), rows)
    scores[np.arange(rows), labels] += 0.4
    scores /= scores.sum(axis=1, keepdims=True)
    return scores.astype(np.float32), labels


@given(seed=st.integers(0, 1000), step=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_each_point_of_a_sweep_is_that_threshold_applied(seed, step):
    """The 101 points come from one histogram, and each equals the threshold applied alone."""
    scores, labels = _case(seed=seed)
    swept = thresholds.sweep(scores, labels)
    alone = thresholds.apply(scores, labels, (step / 100,))
    assert swept.precision[step].mean() == pytest.approx(alone.precision)
    assert swept.recall[step].mean() == pytest.approx(alone.recall)
    assert swept.f1[step].mean() == pytest.approx(alone.f1)
    assert swept.certain_share[step] == pytest.approx(alone.certain_share)


def test_uncertain_rows_are_a_column_of_their_own():
    """Matrix and uncertain column together hold every row of each actual class."""
    scores, labels = _case()
    found = thresholds.apply(scores, labels, (0.6,))
    assert 0 < found.uncertain.sum() < 300
    whole = found.confusion.sum(axis=1) + found.uncertain
    assert whole.tolist() == np.bincount(labels, minlength=4).tolist()
    top = scores.max(axis=1)
    assert found.uncertain.sum() == (top < 0.6).sum()
    certain = top >= 0.6
    assert found.certain_accuracy == pytest.approx(
        (scores.argmax(axis=1) == labels)[certain].mean()
    )


def test_a_threshold_of_the_score_itself_is_passed():
    """A row whose score equals the threshold is certain."""
    scores = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    found = thresholds.apply(scores, np.array([0, 1]), (0.5, 0.75))
    assert found.certain_share == 1.0


def test_suggests_the_best_threshold():
    """No other of the 101 thresholds has a higher macro F1, nor for a class a higher F1."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    scores = random.dirichlet(np.full(3, 1.0), 400).astype(np.float32)
    noise = labels == 2
    scores[noise] = [0.4, 0.35, 0.25]
    swept = thresholds.sweep(scores, labels)
    overall, by_class = thresholds.suggest(swept)
    tried = [thresholds.apply(scores, labels, (t,)).f1 for t in thresholds.GRID]
    assert thresholds.apply(scores, labels, (overall,)).f1 == pytest.approx(max(tried))
    assert swept.f1.max(axis=0) == pytest.approx(
        [swept.f1[round(t * 100), c] for c, t in enumerate(by_class)]
    )
    assert by_class[0] >= 0.4


def _compare(labels, float_predicted, int_predicted):
    return comparison.compare(
        labels, float_predicted, int_predicted, rows=np.arange(len(labels)) + 7, side=SplitSide.TEST
    )


def test_int8_is_recommended_where_it_costs_nothing():
    """Equal predictions: full agreement, no flips, int8."""
    _, labels = _case()
    found = _compare(labels, labels, labels)
    assert (found.agreement, found.accuracy_drop, found.flipped_rows) == (1.0, 0.0, ())
    assert found.recommended is Variant.INT8


def test_float32_is_recommended_where_int8_costs_too_much():
    """Five points lost: float32, with the drop, its interval and the rows that flipped."""
    labels = np.zeros(1000, np.int64)
    worse = labels.copy()
    worse[:50] = 1
    found = _compare(labels, labels, worse)
    assert found.accuracy_drop == pytest.approx(0.05)
    assert found.accuracy_drop_interval.low < 0.05 < found.accuracy_drop_interval.high
    assert found.flipped_rows == tuple(range(7, 57))
    assert found.recommended is Variant.FLOAT32
    assert "5.0 points" in found.reason


def test_broken_quantization_needs_other_work():
    """Half the accuracy lost: neither is recommended, and the reason says what to do."""
    labels = np.zeros(1000, np.int64)
    worse = labels.copy()
    worse[:500] = 1
    found = _compare(labels, labels, worse)
    assert found.recommended is Variant.UNSPECIFIED
    assert "quantization-aware" in found.reason


@given(first=st.integers(0, 40), second=st.integers(0, 40), trials=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(first, second, trials):
    """The p-value is scipy's two-sided binomial test of the rows that differ."""
    right = np.concatenate([np.ones(first), np.zeros(second), np.ones(trials)]).astype(bool)
    other = np.concatenate([np.zeros(first), np.ones(second), np.ones(trials)]).astype(bool)
    found = mcnemar.compare(right, other)
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p_value == pytest.approx(expected)
    assert found.accuracy_gain == pytest.approx((second - first) / len(right))
    assert found.both_right_count == trials


def test_mcnemar_says_which_is_better():
    """A clear difference names the better one; none is called none."""
    first = np.arange(200) < 120
    better = np.arange(200) < 160
    assert mcnemar.compare(first, better).verdict.startswith("The second is better: 20.0 points")
    assert mcnemar.compare(better, first).verdict.startswith("The first is better")
    assert mcnemar.compare(first, first).verdict.startswith("No sure difference")


@given(trials=st.integers(1, 500), share=st.floats(0.01, 0.99), part=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_binomial_tail(trials, share, part):
    """The lower tail is scipy's."""
    successes = int(trials * part)
    expected = stats.binom.cdf(successes, trials, share)
    assert lower_tail(successes, trials, share) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_wilson_interval():
    """The interval is scipy's Wilson interval."""
    for successes, trials in ((0, 5), (5, 5), (7, 9), (480, 1000)):
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((expected.low, expected.high))


def test_finds_labels_that_were_changed():
    """Of 30 changed labels among 1,000 separable rows most are found, and nothing else."""
    random = np.random.default_rng(0)
    true = random.integers(0, 4, 1000)
    shares = np.full((1000, 4), 0.05)
    shares[np.arange(1000), true] = 0.85
    shares += random.random((1000, 4)) * 0.1
    shares /= shares.sum(axis=1, keepdims=True)
    given_labels = true.copy()
    changed = random.choice(1000, 30, replace=False)
    given_labels[changed] = (true[changed] + 1) % 4
    positions, suggested = label_errors.suspects(shares, given_labels, 50)
    assert len(set(positions) & set(changed)) >= 20
    assert set(positions) <= set(changed)
    assert suggested.tolist() == true[positions].tolist()


def test_doubts_no_label_of_a_class_without_rows():
    """A class that no row has can't be suggested."""
    shares = np.tile([0.3, 0.3, 0.4], (20, 1))
    positions, _ = label_errors.suspects(shares, np.arange(20) % 2, 50)
    assert not positions.size


def test_the_worst_group_is_called_out():
    """One bad subject of ten is named, first, and beyond chance."""
    groups = np.array([f"s{i % 10}" for i in range(1000)])
    right = np.random.default_rng(0).random(1000) < 0.9
    right[groups == "s4"] = np.random.default_rng(1).random(100) < 0.5
    found, worst = score_groups(right, Groups.of(groups), np.arange(1000))
    assert found[0].group == "s4"
    assert found[0].accuracy == pytest.approx(right[groups == "s4"].mean())
    assert worst.startswith("Group s4 is worst")
    assert "chance alone does not explain" in worst


def test_a_group_low_by_chance_is_said_to_be():
    """Equal groups: the worst is named as possibly chance."""
    groups = np.array([f"s{i % 20}" for i in range(1000)])
    right = np.random.default_rng(3).random(1000) < 0.8
    assert "may be chance" in score_groups(right, Groups.of(groups), np.arange(1000))[1]


def test_one_group_has_no_worst():
    """A single group is scored and not compared."""
    found, worst = score_groups(
        np.array([True, False]), Groups.of(np.array(["a", "a"])), np.arange(2)
    )
    assert found[0].accuracy == 0.5
    assert not worst


def test_folds_are_scored_on_their_own_rows():
    """Each fold's scores, their mean and sample deviation."""
    scores, labels = _case()
    rows = np.arange(300)
    found = cross_validation.aggregate(OutOfFold(rows, rows % 3, scores), labels)
    each = [(scores[rows % 3 == k].argmax(1) == labels[rows % 3 == k]).mean() for k in range(3)]
    assert [fold.accuracy for fold in found.folds] == pytest.approx(each)
    assert found.summary["accuracy"].mean == pytest.approx(np.mean(each))
    assert found.summary["accuracy"].standard_deviation == pytest.approx(np.std(each, ddof=1))
    assert (found.summary["accuracy"].low, found.summary["accuracy"].high) == (min(each), max(each))


def test_wrong_scores_are_named_by_their_row_in_the_dataset():
    """A NaN on the test side names the dataset's row, not its place on that side."""
    scores, labels = _case(20)
    scores[3, 1] = np.nan
    rows = np.arange(100, 120)
    with pytest.raises(InvalidInput, match="1 rows: 103"):
        score_all(scores, labels, rows=rows)
