"""`linnet evaluate` on files that are right, and on files that are not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from linnet_evaluator.cli import evaluate
from linnet_runtime.errors import InvalidInput

MODELS = Path(__file__).parents[2] / "data" / "evaluator"
MODEL = MODELS / "dense.int8.tflite"


def _save(folder: Path, name: str, array: np.ndarray) -> Path:
    path = folder / f"{name}.npy"
    np.save(path, array)
    return path


@pytest.fixture
def files(tmp_path):
    """Arguments of a run that succeeds."""
    with np.load(MODELS / "dense.npz") as data:
        features, labels = data["features"], data["labels"]
    return {
        "model": MODEL,
        "features": _save(tmp_path, "features", features),
        "labels": _save(tmp_path, "labels", labels),
        "groups": _save(tmp_path, "groups", np.array([f"s{i % 10}" for i in range(600)])),
        "manifest": None,
        "wall_s": 60.0,
        "as_json": True,
    }


def _bytes(folder: Path, data: bytes) -> Path:
    path = folder / "changed"
    path.write_bytes(data)
    return path


def test_one_json_object_is_printed(files, capsys):
    """Every key of the contract, rows of the matrix adding up to the classes' support."""
    evaluate(**files)
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert list(told) == [
        "accuracy", "loss", "confusion", "balanced_accuracy", "mcc", "macro", "weighted", "brier",
        "ece", "classes", "intervals",
    ]  # fmt: skip
    assert [sum(row) for row in told["confusion"]] == [c["support"] for c in told["classes"]]


WRONG = {
    "no model": ("model", lambda f: f / "none", "MODEL: expected a readable file"),
    "an empty model": ("model", lambda f: _bytes(f, b""), "expected a .tflite file"),
    "a cut model": ("model", lambda f: _bytes(f, MODEL.read_bytes()[:900]), "changed"),
    "no features": ("features", lambda f: f / "none", "--features: expected a readable file"),
    "empty features": ("features", lambda f: _bytes(f, b""), "features.npy: expected a .npy file"),
    "features of another shape": (
        "features", lambda f: _save(f, "x", np.zeros((600, 5), np.float32)), "of 5 values"
    ),
    "features of NaN": (
        "features", lambda f: _save(f, "x", np.full((600, 33), np.nan)), "expected a finite number"
    ),
    "text features": ("features", lambda f: _save(f, "x", np.full((600, 33), "a")), "float32"),
    "no labels": ("labels", lambda f: f / "none", "--labels: expected a readable file"),
    "a folder as labels": ("labels", lambda f: f, "--labels: expected a readable file"),
    "text labels": ("labels", lambda f: _save(f, "y", np.full(600, "a")), "expected integers"),
    "too few labels": (
        "labels", lambda f: _save(f, "y", np.zeros(9, int)), r"--labels: expected shape \(600,\)"
    ),
    "labels out of range": ("labels", lambda f: _save(f, "y", np.full(600, 7)), "from 0 to 6"),
    "no groups": ("groups", lambda f: f / "none", "--groups: expected a readable file"),
    "groups of another length": (
        "groups", lambda f: _save(f, "g", np.zeros(9)), r"--groups: expected shape \(600,\)"
    ),
    "no manifest": ("manifest", lambda f: f / "none", "--manifest: expected a readable file"),
    "a manifest of noise": ("manifest", lambda f: _bytes(f, b"{"), "manifest.json: expected"),
    "a scaling of another length": (
        "manifest",
        lambda f: _bytes(
            f, b'{"input_scaling": {"kind": "standard", "offset": [1], "factor": [1]}}'
        ),
        "manifest.input_scaling: expected offset and factor of 33 features",
    ),
    "no time": ("wall_s", lambda _: math.nan, "--wall-s: expected a number of seconds"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named(files, tmp_path, name):
    """The error says which file and what was expected of it."""
    argument, make, message = WRONG[name]
    with pytest.raises(InvalidInput, match=message):
        evaluate(**files | {argument: make(tmp_path)})
