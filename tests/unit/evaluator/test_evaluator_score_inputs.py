"""What `score` takes, and what it says of the rest."""

import json

import numpy as np
import pytest
from linnet_evaluator import score
from linnet_evaluator.running.model_runner import RawScores
from linnet_runtime.errors import InvalidInput

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.dirichlet(np.ones(3), 60)
LABELS = RANDOM.integers(0, 3, 60)
QUANTIZED = np.clip(np.round(SCORES * 256) - 128, -128, 127).astype(np.int8)

ALIKE = {
    "float32 scores": (SCORES.astype(np.float32), LABELS),
    "lists": (SCORES.tolist(), LABELS.tolist()),
    "int32 labels": (SCORES, LABELS.astype(np.int32)),
    "uint8 labels": (SCORES, LABELS.astype(np.uint8)),
}

REFUSED = {
    "text scores": (SCORES.astype(str), LABELS, "scores: expected numbers"),
    "complex scores": (SCORES + 1j, LABELS, "scores: expected numbers"),
    "objects": ([[None, 1], [2, 3]], [0, 1], "scores: expected numbers"),
    "unlike rows": ([[0.1, 0.9], [1.0]], [0, 1], "scores: expected an array"),
    "no rows": (np.zeros((0, 3)), [], "scores: expected shape"),
    "three axes": (SCORES[None], LABELS, "scores: expected shape"),
    "quantized scores": (QUANTIZED, LABELS, "scores: expected scores of at least 0"),
    "a logit": (np.linspace(0, 3, 4), [0, 1, 1, 1], "scores: expected scores of at least 0"),
    "too large for float32": (SCORES * 1e300, LABELS, "scores: expected finite"),
    "text labels": (SCORES, LABELS.astype(str), "labels: expected integers"),
    "fractions as labels": (SCORES, LABELS + 0.5, "labels: expected integers"),
    "one-hot labels": (SCORES, np.eye(3)[LABELS], "labels: expected shape"),
    "labels from 1": (SCORES, LABELS + 1, "labels: expected indices from 0 to 2"),
    "too few labels": (SCORES, LABELS[:-1], "labels: expected shape"),
    "negative labels": (SCORES, LABELS - 1, "labels: expected indices from 0 to 2"),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_type_of_scores_and_labels_does_not_matter(name):
    """Arrays of other types and lists give the same object."""
    assert score(*ALIKE[name]) == score(SCORES, LABELS)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_names_the_argument(name):
    """Never NumPy's error, never a number that means nothing."""
    scores, labels, message = REFUSED[name]
    with pytest.raises(InvalidInput, match=message):
        score(scores, labels)


def test_scores_need_no_sum_of_one():
    """Dequantized and scaled scores have the loss of their shares."""
    dequantized = (QUANTIZED.astype(np.float32) + 128) / 256
    told = score(dequantized, LABELS)
    shares = dequantized / dequantized.sum(axis=1, keepdims=True)
    assert told["loss"] == pytest.approx(score(shares, LABELS)["loss"], rel=1e-6)
    assert score(SCORES * 50, LABELS)["loss"] == pytest.approx(score(SCORES, LABELS)["loss"])


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_one_sigmoid_is_two_classes(shape):
    """A score of class 1 gives what both classes' scores give; exactly a half is class 0."""
    chances = SCORES[:, 0].astype(np.float32)
    chances[0] = 0.5
    labels = (LABELS == 0).astype(int)
    both = np.stack([1 - chances, chances], axis=1)
    told = score(chances.reshape(shape), labels)
    assert told == score(both, labels)
    assert sum(told["confusion"][labels[0]]) == (labels == labels[0]).sum()


def test_a_quantized_sigmoid_is_two_classes():
    """One int8 column of a file becomes the shares of both classes."""
    found = RawScores(np.array([[-128], [0], [127]], np.int8), 1 / 256, -128).floats()
    np.testing.assert_array_equal(found, [[1, 0], [0.5, 0.5], [1 / 256, 255 / 256]])


@pytest.mark.parametrize(
    ("groups", "message"),
    [(["a"] * 5, "groups: expected shape"), ([["a"]] * 60, "groups: expected shape")],
)
def test_groups_of_another_shape_are_refused(groups, message):
    """One name a row."""
    with pytest.raises(InvalidInput, match=message):
        score(SCORES, LABELS, groups)


def test_groups_of_no_order_are_refused():
    """None among text has no place in the order of names."""
    with pytest.raises(InvalidInput, match="groups: expected numbers or text"):
        score(SCORES, LABELS, np.array(["a", None] * 30, dtype=object))


def test_undefined_is_null_in_json():
    """Where one class has all rows its area is undefined: null, never NaN."""
    told = score(SCORES, np.zeros(60, int))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["macro"]["roc_auc"] is None
    assert set(told) == {
        "accuracy", "loss", "confusion", "balanced_accuracy", "mcc", "macro", "weighted", "brier",
        "ece", "classes", "intervals",
    }  # fmt: skip
    assert set(told["macro"]) == {"precision", "recall", "f1", "roc_auc", "average_precision"}
    assert [set(c) for c in told["classes"]] == [{"precision", "recall", "f1", "support"}] * 3
    assert set(told["intervals"]) == {"accuracy", "balanced_accuracy", "mcc", "macro_f1"}
