"""Whole runs on real data: settings, limits, folds, resume, scripts and artifacts."""

import hashlib
import itertools
import json
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from linnet_ml.defaults import layers_of
from linnet_ml.samples import Samples
from linnet_ml.spec import (
    Architecture,
    ClassBalance,
    EarlyStopping,
    ExportOptions,
    Layer,
    LayerKind,
    LayerList,
    Schedule,
    ScheduleKind,
    SplitMethod,
    SplitSpec,
    TrainingSpec,
)
from linnet_runtime.errors import InvalidInput
from linnet_trainer.file_names import ARTIFACTS, OUT_OF_FOLD
from linnet_trainer.fit.epochs import Ending

from tests.fakes.training import (
    Recorder,
    digits,
    resolved,
    run_data,
    spec,
    train,
    weights_of,
    wine,
)


def test_run_leaves_every_artifact_with_its_digest(shop, tmp_path):
    """All files of the layout are there, the manifest last, and its digests are the files'."""
    outcome, events = train(shop, spec(epochs=30), wine(tmp_path), tmp_path / "out")
    assert outcome.files == tuple(n for n in ARTIFACTS if n != OUT_OF_FOLD)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for name in outcome.files[:-1]:
        data = (tmp_path / "out" / name).read_bytes()
        assert manifest["files"][name]["sha256"] == hashlib.sha256(data).hexdigest()
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [e["epoch"] for e in history["epochs"]] == list(range(1, 31))
    assert outcome.figures.val_accuracy >= 0.85
    assert manifest["variants"]["int8"]["input"]["type"] == "int8"
    assert len(manifest["variants"]["int8"]["merged_input"]["multiplier"]) == 13
    split = np.load(tmp_path / "out" / "split.npz")
    assert set(split.files) == {"training", "validation", "test"}
    assert events.ratios[-1] == 1.0


def test_c_header_compiles_and_holds_the_model(shop, tmp_path):
    """The header is C99 whose array is the int8 file, byte by byte."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    out = tmp_path / "out"
    train(shop, spec(epochs=1), wine(tmp_path), out)
    text = (out / "model.h").read_text()
    body = text.split("linnet_model[LINNET_MODEL_BYTES] = {")[1].split("}")[0]
    data = bytes(int(v, 16) for v in body.replace("\n", " ").split(","))
    assert data == (out / "model.int8.tflite").read_bytes()
    if compiler:
        program = (
            '#include "model.h"\nint main(void) {'
            " return (int)linnet_model[0] + (linnet_input_multiplier[0] > 0.f) +"
            " (linnet_input_addend[0] > 0.f) + (linnet_classes[0][0] == 'c') > 500; }"
        )
        (out / "main.c").write_text(program)
        subprocess.run(
            [compiler, "-std=c11", "-Wall", "-Werror", "-c", "main.c", "-o", "main.o"],
            cwd=out,
            check=True,
        )


def test_interrupted_run_resumes_to_the_same_bits(shop, tmp_path):
    """Stopped after an epoch and resumed from its checkpoint, a run ends in the same weights."""
    data = wine(tmp_path)
    given = spec(
        epochs=5, schedule=Schedule(kind=ScheduleKind.REDUCE_ON_PLATEAU, patience_epochs=1)
    )
    whole, _ = train(shop, given, data, tmp_path / "whole")
    stopping = Recorder(stop_after=2)
    cut, _ = train(shop, given, data, tmp_path / "cut", events=stopping)
    assert cut.ending is Ending.TERMINATED
    assert cut.files == ()
    resumed, events = train(
        shop, given, data, tmp_path / "resumed", checkpoint=stopping.saved[-1], seconds_used=1.5
    )
    assert weights_of(resumed) == weights_of(whole)
    assert [e.number for e in events.epochs] == [3, 4, 5]
    assert resumed.figures.epochs == 5
    assert resumed.figures.train_seconds > 1.5


def test_run_after_others_equals_the_run_alone(shop, tmp_path):
    """A loop used before gives the same weights as a fresh process' trainer."""
    from linnet_trainer.networks import LayerNetwork
    from linnet_trainer.run_contract import RunOrder
    from linnet_trainer.training import Trainer

    data = wine(tmp_path)
    train(shop, spec(seed=3), data, tmp_path / "before")
    after, _ = train(shop, spec(seed=4), data, tmp_path / "after")
    order = RunOrder("r", 1, resolved(spec(seed=4), data), data)
    layers = order.spec.architecture.layers
    network = LayerNetwork(
        layers_of(Architecture(layers=layers), data.input_kind, (13,)), (13,), 3, shop.children
    )
    (tmp_path / "alone").mkdir()
    alone = Trainer(time.monotonic).train(order, network, Recorder(), tmp_path / "alone")
    assert weights_of(alone) == weights_of(after)


def test_time_limit_exports_the_best_so_far(shop, tmp_path):
    """A run whose time is over still has models, was warned up front, and says what happened."""
    from linnet_trainer.training import Trainer

    ticks = itertools.count()
    timed = replace(shop, trainer=Trainer(lambda: next(ticks) * 0.01))
    given = spec(epochs=100_000, time_limit=timedelta(seconds=3))
    outcome, events = train(timed, given, wine(tmp_path), tmp_path / "out")
    assert outcome.ending is Ending.TIME_LIMIT
    assert "model.int8.tflite" in outcome.files
    assert any("time limit was reached" in w for w in outcome.figures.warnings)
    assert any("its limit leaves" in line for line in events.lines)


def test_early_stopping_keeps_the_best_epoch(shop, tmp_path):
    """Patience ends the run, and the exported weights are those of the lowest validation loss."""
    given = spec(epochs=400, learning_rate=0.1, early_stopping=EarlyStopping(patience_epochs=3))
    outcome, events = train(shop, given, wine(tmp_path), tmp_path / "out")
    assert outcome.ending is Ending.EARLY_STOPPING
    losses = [e.val_loss for e in events.epochs]
    assert outcome.figures.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == outcome.figures.best_epoch + 3


def test_folds_score_every_row_once_and_a_final_fit_is_exported(shop, tmp_path):
    """Leaving one group out gives out-of-fold scores of all rows, then a fit on everything."""
    groups = np.array([f"g{n % 3}" for n in range(178)])
    data = wine(tmp_path, Samples(group=groups))
    given = spec(epochs=3)
    given = TrainingSpec(
        fit=given.fit,
        architecture=given.architecture,
        split=SplitSpec(method=SplitMethod.LEAVE_ONE_GROUP_OUT, final_fit=True),
        export=ExportOptions(skip_int8=True),
    )
    outcome, events = train(shop, given, data, tmp_path / "out")
    assert [e.fold for e in events.epochs] == [1] * 3 + [2] * 3 + [3] * 3 + [0] * 3
    held = np.load(tmp_path / "out" / OUT_OF_FOLD)
    assert sorted(held["rows"]) == list(range(178))
    assert held["scores"].shape == (178, 3)
    np.testing.assert_allclose(held["scores"].sum(axis=1), 1, atol=1e-5)
    split = np.load(tmp_path / "out" / "split.npz")
    assert split["training"].size == 178
    assert int(split["exported_fit"]) == 3
    assert "model.int8.tflite" not in outcome.files


def test_weights_of_an_earlier_run_are_the_start(shop, tmp_path):
    """With init_from the first epoch's loss continues where the earlier run was; misfits fail."""
    data = wine(tmp_path)
    _, first = train(shop, spec(epochs=15), data, tmp_path / "first")
    _, second = train(
        shop, spec(), data, tmp_path / "second", initial_model=tmp_path / "first" / "model.keras"
    )
    assert second.epochs[0].val_loss < first.epochs[0].val_loss / 2
    other = Architecture(layers=LayerList((Layer(LayerKind.DENSE, units=9),)))
    with pytest.raises(InvalidInput, match="init_from"):
        train(
            shop,
            spec(other),
            data,
            tmp_path / "third",
            initial_model=tmp_path / "first" / "model.keras",
        )


@pytest.mark.parametrize("balance", [ClassBalance.WEIGHTS, ClassBalance.OVERSAMPLE])
def test_balancing_helps_a_rare_class(shop, tmp_path, balance):
    """Either meaning of balance finds more rows of a rare class; copies are of training rows."""
    data = wine(tmp_path)
    rare = np.flatnonzero(data.labels == 2)[10:]
    kept = np.setdiff1d(np.arange(data.labels.size), rare)
    features = np.asarray(data.features)[kept]
    # The kinds overlap, so that a network without balance prefers the frequent ones.
    noisy = features + np.random.default_rng(4).normal(0, features.std(axis=0) * 2, features.shape)
    data = run_data(tmp_path, noisy, data.labels[kept], data.input_kind)
    found = {}
    for chosen in (ClassBalance.NONE, balance):
        out = tmp_path / chosen.name
        _, events = train(shop, spec(epochs=30, class_balance=chosen, keep_best=False), data, out)
        found[chosen] = rare_share(out, data)
    assert found[balance] > found[ClassBalance.NONE]
    copies = any("copies of rows of rare classes" in line for line in events.lines)
    assert copies == (balance is ClassBalance.OVERSAMPLE)
    with np.load(out / "split.npz") as split:
        rows = [split[name] for name in ("training", "validation", "test")]
    assert sorted(np.concatenate(rows)) == list(range(data.labels.size))


def rare_share(out, data):
    """Share of the training rows that a run's model takes for the rare class."""
    import keras

    manifest = json.loads((out / "manifest.json").read_text())["input_scaling"]
    with np.load(out / "split.npz") as split:
        rows = np.asarray(data.features)[split["training"]]
    scaled = (rows - np.array(manifest["offset"])) * np.array(manifest["factor"])
    model = keras.models.load_model(out / "model.keras")
    return (np.asarray(model(scaled.astype(np.float32))).argmax(axis=1) == 2).mean()


@pytest.mark.alone
def test_a_long_epoch_tells_its_progress(shop, tmp_path):
    """Inside epochs of seconds the share that is done comes at least every 2 s.

    Judged by the best of three epochs: what else the machine does is not the trainer's.
    """
    data = digits(tmp_path, rows=600)
    wide = LayerList((Layer(LayerKind.DENSE, units=1200), Layer(LayerKind.DENSE, units=1200)))

    class Timed(Recorder):
        def __init__(self):
            super().__init__()
            self.epochs_moments = [[]]

        def ratio(self, ratio):
            super().ratio(ratio)
            self.epochs_moments[-1].append(time.monotonic())

        def epoch(self, record, line, ratio):
            super().epoch(record, line, ratio)
            self.epochs_moments[-1].append(time.monotonic())
            self.epochs_moments.append([time.monotonic()])

    events = Timed()
    given = spec(Architecture(layers=wide), epochs=3, batch_size=1, learning_rate=0.0001)
    given = replace(given, export=ExportOptions(skip_int8=True))
    train(shop, given, data, tmp_path / "out", events=events)
    epochs = events.epochs_moments[:3]
    assert all(len(moments) > 3 for moments in epochs)
    assert events.ratios == sorted(events.ratios)
    assert min(max(np.diff(moments)) for moments in epochs) <= 2.0
