"""A run that a real trainer made with folds, through the real evaluator."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linnet.v1 import evaluation_pb2, run_pb2, training_service_pb2
from linnet_evaluator.report import render

from tests.support.evaluated_run import CLASSES, MODELS
from tests.support.evaluator_process import npz_bytes, push, request_of

FOLDS = 3
SPEC = {
    "fit": {"epochs": 6, "learning_rate": 0.01},
    "architecture": {"layers": {"layers": [{"kind": "LAYER_KIND_DENSE", "units": 12}]}},
    "split": {"method": "SPLIT_METHOD_K_FOLD", "fold_count": FOLDS, "final_fit": True},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A k-fold run of 600 rows of 10 subjects, every fifth row kept for the test."""
    folder = tmp_path_factory.mktemp("folds")
    with np.load(MODELS / "dense.npz") as data:
        np.save(folder / "features.npy", data["features"])
        np.save(folder / "labels.npy", data["labels"])
    np.save(folder / "test.npy", np.arange(600) % 5 == 0)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    command = [Path(sys.executable).parent / "linnet", "fit", folder / "spec.json"]
    for name in ("features", "labels", "test"):
        command += [f"--{name}", folder / f"{name}.npy"]
    subprocess.run([*command, "--out", folder / "out"], check=True, timeout=240)
    return folder


@pytest.fixture(scope="module")
def evaluation(store, stub, trained):
    data = {name: (trained / name).read_bytes() for name in ("features.npy", "labels.npy")}
    data["samples.npz"] = npz_bytes(group=np.array([f"s{i % 10}" for i in range(600)]))
    dataset = push(store, "projects/p/datasets/f", data)
    files = {path.name: path.read_bytes() for path in (trained / "out").iterdir() if path.is_file()}
    run = push(store, "projects/p/runs/f", files)
    return stub.Evaluate(request_of(run, dataset, CLASSES), timeout=120).evaluation


def test_each_fold_has_the_scores_that_its_training_ended_with(trained, evaluation):
    """Loss and accuracy of a fold are val_loss and val_accuracy of its best epoch."""
    epochs = json.loads((trained / "out" / "history.json").read_text())["epochs"]
    found = evaluation.cross_validation.folds
    assert len(found) == FOLDS
    for fold in found:
        of_fold = [epoch for epoch in epochs if epoch["fold"] == fold.fold]
        best = min(of_fold, key=lambda epoch: epoch["val_loss"])
        assert fold.loss == pytest.approx(best["val_loss"], rel=1e-4)
        assert fold.accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_the_folds_are_summarised_by_mean_and_spread(evaluation):
    """Mean, sample deviation, lowest and highest of every score are those of the folds."""
    found = evaluation.cross_validation
    assert set(found.summary) == {"accuracy", "loss", "balanced_accuracy", "mcc", "macro_f1"}
    for name, spread in found.summary.items():
        values = [getattr(fold, name) for fold in found.folds]
        assert spread.mean == pytest.approx(np.mean(values))
        assert spread.standard_deviation == pytest.approx(np.std(values, ddof=1))
        assert (spread.low, spread.high) == (min(values), max(values))


def test_every_row_but_the_test_rows_is_scored_out_of_fold(evaluation):
    """480 rows, pooled, are what thresholds are chosen and labels doubted on."""
    sides = {(s.variant, s.side): s for s in evaluation.sets}
    pooled = sides[run_pb2.VARIANT_FLOAT32, evaluation_pb2.SPLIT_SIDE_OUT_OF_FOLD]
    assert pooled.sample_count == 480
    weights = [fold.sample_count for fold in evaluation.cross_validation.folds]
    accuracies = [fold.accuracy for fold in evaluation.cross_validation.folds]
    assert pooled.scores.accuracy == pytest.approx(np.average(accuracies, weights=weights))
    assert sides[run_pb2.VARIANT_INT8, evaluation_pb2.SPLIT_SIDE_TEST].sample_count == 120
    chosen_on = {analysis.chosen_on for analysis in evaluation.thresholds}
    assert chosen_on == {evaluation_pb2.SPLIT_SIDE_OUT_OF_FOLD}
    assert {o.side for a in evaluation.thresholds for o in a.outcomes} == {
        evaluation_pb2.SPLIT_SIDE_OUT_OF_FOLD,
        evaluation_pb2.SPLIT_SIDE_TEST,
    }


def test_the_report_page_shows_the_folds(evaluation):
    """Each fold is a row of the page, with mean and deviation below them."""
    run = run_pb2.Run(name="projects/p/runs/f", state=run_pb2.RUN_STATE_SUCCEEDED)
    page = render(training_service_pb2.Report(run=run, evaluation=evaluation))
    assert 'id="folds"' in page
    assert "mean ± deviation" in page
