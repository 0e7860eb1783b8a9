"""Scores against scikit-learn, on random and adversarial cases."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet_evaluator import score
from linnet_evaluator.scores.scoring import score_all
from linnet_runtime.errors import InvalidInput
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning


def _dirichlet(rows, classes, seed, *, levels=0):
    """Scores of random rows; `levels` rounds them as int8 does, which makes ties and odd sums."""
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.full(classes, 0.5), rows).astype(np.float32)
    if levels:
        scores = (np.round(scores * levels) / levels).astype(np.float32)
    return scores, random.integers(0, classes, rows)


def _one_class_predicted(seed):
    scores, labels = _dirichlet(80, 4, seed)
    scores[:, 2] = 1.0
    return scores, labels


def _absent(seed):
    scores, labels = _dirichlet(80, 5, seed)
    labels[labels == 3] = 1
    return scores, labels


def _all_ties(seed):
    _, labels = _dirichlet(60, 3, seed)
    return np.full((60, 3), 1 / 3, np.float32), labels


def _perfect(seed):
    _, labels = _dirichlet(60, 3, seed)
    return np.eye(3, dtype=np.float32)[labels], labels


def _all_wrong(seed):
    _, labels = _dirichlet(60, 3, seed)
    return np.eye(3, dtype=np.float32)[(labels + 1) % 3], labels


CASES = {
    "many classes": _dirichlet(400, 12, 0),
    "two classes": _dirichlet(200, 2, 1),
    "int8 steps": _dirichlet(300, 7, 2, levels=256),
    "coarse ties": _dirichlet(300, 4, 3, levels=4),
    "one class predicted": _one_class_predicted(4),
    "absent class": _absent(5),
    "all ties": _all_ties(6),
    "perfect": _perfect(7),
    "all wrong": _all_wrong(8),
    "two rows": (np.array([[0.9, 0.1], [0.4, 0.6]], np.float32), np.array([0, 1])),
    "one class only": (np.array([[0.9, 0.1], [0.4, 0.6]], np.float32), np.array([1, 1])),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request):
    return CASES[request.param]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _shares(scores):
    wide = scores.astype(np.float64)
    sums = wide.sum(axis=1, keepdims=True)
    return np.divide(wide, sums, out=wide, where=sums > 0)


def test_confusion_matrix_has_actual_rows(case):
    """Rows are actual classes, columns predicted ones, absent classes kept."""
    scores, labels = case
    expected = metrics.confusion_matrix(
        labels, scores.argmax(axis=1), labels=range(scores.shape[1])
    )
    assert score(scores, labels)["confusion"] == expected.tolist()


def test_scores_of_the_matrix(case):
    """Accuracy, balanced accuracy and MCC are scikit-learn's."""
    scores, labels = case
    predicted = scores.argmax(axis=1)
    found = score(scores, labels)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    balanced = metrics.balanced_accuracy_score(labels, predicted)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(labels, predicted))


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_averages_over_classes(case, average):
    """Macro and weighted precision, recall and F1 count every class, the absent ones too."""
    scores, labels = case
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels,
        scores.argmax(axis=1),
        labels=range(scores.shape[1]),
        average=average,
        zero_division=0,
    )
    found = score(scores, labels)[average]
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["f1"] == pytest.approx(f1)


def test_scores_of_each_class(case):
    """Precision, recall, F1 and support of each class are scikit-learn's."""
    scores, labels = case
    expected = metrics.precision_recall_fscore_support(
        labels, scores.argmax(axis=1), labels=range(scores.shape[1]), zero_division=0
    )
    for c, found in enumerate(score(scores, labels)["classes"]):
        assert found["precision"] == pytest.approx(expected[0][c])
        assert found["recall"] == pytest.approx(expected[1][c])
        assert found["f1"] == pytest.approx(expected[2][c])
        assert found["support"] == expected[3][c]


def test_areas_under_curves(case):
    """ROC AUC and average precision of each class against the rest; None where undefined."""
    scores, labels = case
    found = score_all(scores, labels)
    for c in range(scores.shape[1]):
        is_class = labels == c
        if not is_class.any():
            assert np.isnan(found.ranking.roc_auc[c])
            assert np.isnan(found.ranking.average_precision[c])
            continue
        precision = metrics.average_precision_score(is_class, scores[:, c])
        assert found.ranking.average_precision[c] == pytest.approx(precision)
        if is_class.all():
            assert np.isnan(found.ranking.roc_auc[c])
        else:
            area = metrics.roc_auc_score(is_class, scores[:, c])
            assert found.ranking.roc_auc[c] == pytest.approx(area)


def test_mean_areas_are_those_of_the_library():
    """The macro and weighted ROC AUC of plain cases are roc_auc_score's own averages."""
    scores, labels = CASES["many classes"]
    found = score(scores, labels)
    for average in ("macro", "weighted"):
        expected = metrics.roc_auc_score(
            labels, _shares(scores), multi_class="ovr", average=average
        )
        assert found[average]["roc_auc"] == pytest.approx(expected, abs=1e-6)
        expected = metrics.average_precision_score(np.eye(12)[labels], scores, average=average)
        assert found[average]["average_precision"] == pytest.approx(expected)


def test_binary_areas_come_from_scores_not_labels():
    """Two classes: the area is that of the second class's score, far from that of hard labels."""
    scores, labels = CASES["two classes"]
    area = metrics.roc_auc_score(labels, scores[:, 1])
    assert score(scores, labels)["macro"]["roc_auc"] == pytest.approx(area, abs=1e-6)
    assert abs(area - metrics.roc_auc_score(labels, scores.argmax(axis=1))) > 1e-3


def test_means_of_areas_with_an_absent_class():
    """The macro mean is undefined, the weighted one leaves the absent class out."""
    scores, labels = CASES["absent class"]
    found = score(scores, labels)
    assert found["macro"]["roc_auc"] is None
    assert found["macro"]["average_precision"] is None
    present = [0, 1, 2, 4]
    areas = [metrics.roc_auc_score(labels == c, scores[:, c]) for c in present]
    weights = [np.sum(labels == c) for c in present]
    assert found["weighted"]["roc_auc"] == pytest.approx(np.average(areas, weights=weights))


def test_log_loss(case):
    """Loss is scikit-learn's over row-normalised scores clipped at 1e-7."""
    scores, labels = case
    shares = np.clip(_shares(scores), 1e-7, 1 - 1e-7)
    expected = -np.log(shares[np.arange(len(labels)), labels]).mean()
    assert score(scores, labels)["loss"] == pytest.approx(expected)


def test_log_loss_without_zeros_is_the_library_s():
    """Where no score is near zero, clipping changes nothing and log_loss agrees."""
    scores, labels = _dirichlet(300, 5, 9)
    scores += 0.01
    expected = metrics.log_loss(labels, _shares(scores))
    assert score(scores, labels)["loss"] == pytest.approx(expected)


@pytest.mark.slow
def test_log_loss_is_that_of_keras():
    """On a softmax's own output the loss equals Keras' sparse categorical cross-entropy."""
    keras = pytest.importorskip("keras")
    scores, labels = _dirichlet(300, 5, 10)
    scores[:20] = np.eye(5, dtype=np.float32)[(labels[:20] + 1) % 5]
    expected = float(keras.losses.SparseCategoricalCrossentropy()(labels, scores))
    assert score(scores, labels)["loss"] == pytest.approx(expected, rel=1e-5)


def test_brier(case):
    """The Brier score is scikit-learn's: summed over classes, halved for two."""
    scores, labels = case
    shares = _shares(scores)
    expected = metrics.brier_score_loss(labels, shares, labels=range(scores.shape[1]))
    assert score(scores, labels)["brier"] == pytest.approx(expected)


def test_calibration_error(case):
    """ECE is the gap of accuracy and top share over 15 bins, weighted by their rows."""
    scores, labels = case
    shares = _shares(scores)
    top, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (top > low) & (top <= low + 1 / 15 + 1e-12)
        total += abs(right[inside].sum() - top[inside].sum())
    assert score(scores, labels)["ece"] == pytest.approx(total / len(labels), abs=1e-9)


def test_zero_scores_are_counted():
    """Rows whose actual class scored exactly zero are counted."""
    scores = np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0]], np.float32)
    assert score_all(scores, np.array([1, 1, 0, 0])).trust.zero_score_count == 2


def test_ties_go_to_the_lowest_index():
    """Equal scores predict the lower class."""
    assert score_all(np.array([[0.5, 0.5], [0.2, 0.2]]), np.array([0, 1])).predicted.tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_their_rows(value):
    """NaN and infinity are an error that names each row."""
    scores, labels = _dirichlet(20, 3, 0)
    scores[[4, 17], 1] = value
    with pytest.raises(InvalidInput, match="2 rows: 4, 17") as caught:
        score(scores, labels)
    assert caught.value.reason == "SCORES_NOT_FINITE"


def test_negative_scores_name_their_rows():
    """Logits instead of shares are refused, with the row and a hint."""
    scores, labels = _dirichlet(20, 3, 0)
    scores[7, 0] = -0.5
    with pytest.raises(InvalidInput, match=r"softmax.* 1 rows: 7") as caught:
        score(scores, labels)
    assert caught.value.reason == "SCORES_NEGATIVE"


@given(
    rows=st.integers(2, 60),
    classes=st.integers(2, 6),
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([0, 3, 256]),
)
@settings(max_examples=60, deadline=None)
def test_random_cases_agree_with_scikit_learn(rows, classes, seed, levels):
    """On any rows, classes and coarseness the main scores agree to rounding."""
    scores, labels = _dirichlet(rows, classes, seed, levels=levels)
    found = score_all(scores, labels, draws=10)
    predicted = scores.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.mcc == pytest.approx(metrics.matthews_corrcoef(labels, predicted), abs=1e-12)
        f1 = metrics.f1_score(
            labels, predicted, average="macro", labels=range(classes), zero_division=0
        )
        assert found.macro.f1 == pytest.approx(f1)
        for c in np.unique(labels):
            average = metrics.average_precision_score(labels == c, scores[:, c])
            assert found.ranking.average_precision[c] == pytest.approx(average)
            if (labels != c).any():
                area = metrics.roc_auc_score(labels == c, scores[:, c])
                assert found.ranking.roc_auc[c] == pytest.approx(area)
