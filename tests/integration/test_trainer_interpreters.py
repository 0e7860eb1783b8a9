"""Presets trained on real data: TFLite Micro, in a process of its own, decides as LiteRT does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linnet_ml.spec import Architecture, InputKind, SplitSpec, TrainingSpec
from linnet_sdk.examples import smartwatch

from tests.fakes.training import digits, run_data, spec, train, wine
from tests.integration.test_trainer_export import scores

ROOT = Path(__file__).parents[2]
MICRO = """
import sys
import numpy as np
from tests.integration.test_trainer_export import arena_and_scores
model, rows, out = sys.argv[1:]
np.save(out, arena_and_scores(open(model, "rb").read(), np.load(rows)))
"""


def motion(folder):
    cut = smartwatch.cut_windows(*smartwatch.installed_recordings())
    return run_data(folder, cut.values[::8], cut.labels[::8], InputKind.TIME_SERIES)


def images(folder):
    return digits(folder, 1000)


def held_out(folder, data):
    """Give the rows that were not trained on, as the models take them."""
    scaling = json.loads((folder / "manifest.json").read_text())["input_scaling"]
    with np.load(folder / "split.npz") as split:
        rows = np.asarray(data.features)[split["validation"]]
    if scaling["offset"]:
        rows = (rows - scaling["offset"]) * scaling["factor"]
    return rows.astype(np.float32)


@pytest.mark.parametrize(
    ("preset", "make", "epochs"),
    [
        ("dense", wine, 20),
        ("conv1d", motion, 4),
        ("conv2d", images, 10),
        ("ds-cnn", motion, 60),
        ("mobilenet", images, 40),
        ("resnet-8", images, 12),
    ],
)
def test_tflite_micro_decides_as_litert_on_rows_held_out(shop, tmp_path, preset, make, epochs):
    """On 99.5 % of them at least; the int8 model is the one that the run leaves."""
    data, out = make(tmp_path), tmp_path / "out"
    fit = spec(Architecture(preset=preset), epochs=epochs).fit
    given = TrainingSpec(
        fit=fit, split=SplitSpec(validation_share=0.4), architecture=Architecture(preset=preset)
    )
    outcome, _ = train(shop, given, data, out)
    assert not outcome.figures.warnings
    assert outcome.figures.val_accuracy > 2 / len(data.classes)
    rows, model = held_out(out, data), out / "model.int8.tflite"
    np.save(tmp_path / "rows.npy", rows)
    paths = [model, tmp_path / "rows.npy", tmp_path / "micro.npy"]
    child = [sys.executable, "-c", MICRO, *map(str, paths)]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, micro = scores(model.read_bytes(), rows), np.load(tmp_path / "micro.npy")
    assert len(rows) >= 70
    assert (ours.argmax(axis=1) == micro.argmax(axis=1)).mean() >= 0.995
