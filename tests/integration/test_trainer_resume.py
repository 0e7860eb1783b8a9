"""What a later attempt makes of a checkpoint: the same run, and never less than a new one."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet_ml.augmentation import Augmentation, TimeSeriesAugmentation
from linnet_ml.spec import (
    Architecture,
    ClassBalance,
    EarlyStopping,
    ExportOptions,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    SplitMethod,
    SplitSpec,
)
from linnet_runtime.errors import InvalidInput
from linnet_sdk.examples import smartwatch
from linnet_trainer.fit.epochs import Ending

from tests.fakes.training import Recorder, run_data, spec, train, weights_of, wine


@pytest.fixture
def each_epoch(monkeypatch):
    """A checkpoint at each epoch's end, however short it is."""
    monkeypatch.setattr("linnet_trainer.run_course.EPOCH_CHECKPOINT_SECONDS", 0.0)


STOPPING = {
    "epochs": 400,
    "learning_rate": 0.1,
    "early_stopping": EarlyStopping(patience_epochs=3),
}


@pytest.mark.usefixtures("each_epoch")
@pytest.mark.parametrize("keep_best", [True, False])
def test_a_run_killed_in_its_export_trains_no_further_epoch(shop, tmp_path, keep_best):
    """The last checkpoint of a run that stopped early leads to the same epochs and weights."""
    data = wine(tmp_path)
    wanted = spec(**STOPPING, keep_best=keep_best)
    events = Recorder()
    whole, _ = train(shop, wanted, data, tmp_path / "whole", events=events)
    again, later = train(
        shop, wanted, data, tmp_path / "again", checkpoint=events.saved[-1], attempt=2
    )
    assert whole.ending is again.ending is Ending.EARLY_STOPPING
    assert later.epochs == []
    assert weights_of(again) == weights_of(whole)
    assert again.figures.epochs == whole.figures.epochs


@pytest.mark.usefixtures("each_epoch")
def test_ended_fits_of_a_resumed_run_keep_why_they_ended(shop, tmp_path):
    """Folds that stopped early before the kill are told so by the attempt that ends the run."""
    data = wine(tmp_path)
    wanted = replace(spec(**STOPPING), split=SplitSpec(method=SplitMethod.K_FOLD, fold_count=2))
    events = Recorder()
    whole, _ = train(shop, wanted, data, tmp_path / "whole", events=events)
    again, _ = train(shop, wanted, data, tmp_path / "again", checkpoint=events.saved[-1], attempt=2)
    fits = [
        json.loads((tmp_path / name / "history.json").read_text())["fits"]
        for name in ("whole", "again")
    ]
    assert fits[0] == fits[1]
    assert "early_stopping" in {fit["ending"] for fit in fits[0]}
    assert weights_of(again) == weights_of(whole)


NORMALIZED = LayerList(
    (
        Layer(LayerKind.CONV1D, units=4, kernel_size=3),
        Layer(LayerKind.BATCH_NORMALIZATION),
        Layer(LayerKind.DROPOUT, rate=0.2),
    )
)


@pytest.mark.usefixtures("each_epoch")
@pytest.mark.parametrize("balance", [ClassBalance.OVERSAMPLE, ClassBalance.WEIGHTS])
def test_a_run_goes_on_in_the_middle_of_an_epoch(shop, tmp_path, monkeypatch, balance):
    """Moving averages, masks, changes of rows and copies go on where they were, bit for bit."""
    monkeypatch.setattr("linnet_trainer.run_course.CHECKPOINT_SECONDS", 0.0)
    # One step at a time: checkpoints lie between any two.
    monkeypatch.setattr("linnet_trainer.fit.pace.CHUNK_SECONDS", 1e-9)
    cut = smartwatch.cut_windows(*smartwatch.installed_recordings())
    data = run_data(tmp_path, cut.values[::40], cut.labels[::40], InputKind.TIME_SERIES)
    given = spec(Architecture(layers=NORMALIZED), epochs=3, batch_size=16, class_balance=balance)
    given = replace(
        given,
        augmentation=Augmentation(time_series=TimeSeriesAugmentation(jitter=0.5, shift_steps=4)),
        export=ExportOptions(skip_int8=True),
    )
    events = Recorder()
    whole, _ = train(shop, given, data, tmp_path / "whole", events=events)
    seen = [_place(stored) for stored in events.saved]
    steps = max(step for _, step in seen)
    assert steps > 2
    middle = seen.index((1, steps // 2))
    again, later = train(
        shop, given, data, tmp_path / "again", checkpoint=events.saved[middle], attempt=2
    )
    assert [epoch.number for epoch in later.epochs] == [2, 3]
    assert weights_of(again) == weights_of(whole)


def _place(stored):
    """Give the epochs and the steps within the next one that a checkpoint has behind it."""
    with np.load(io.BytesIO(stored)) as archive:
        meta = json.loads(archive["meta"].tobytes())
    fit = meta["fits"][-1]
    return fit["epoch"], fit["step"]


@pytest.mark.usefixtures("each_epoch")
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_cut_checkpoint_costs_its_epochs_only(shop, tmp_path, left):
    """What is left of a checkpoint is warned about, and the run is trained from its beginning."""
    data = wine(tmp_path)
    events = Recorder()
    whole, _ = train(shop, spec(), data, tmp_path / "whole", events=events)
    stored = events.saved[1]
    cut = stored[: int(len(stored) * left)]
    again, later = train(shop, spec(), data, tmp_path / "again", checkpoint=cut, attempt=2)
    assert weights_of(again) == weights_of(whole)
    assert [epoch.number for epoch in later.epochs] == [1, 2, 3, 4]
    assert any("checkpoint of the attempt before can't be used" in w for w in later.lines)
    assert any("can't be used" in w for w in again.figures.warnings)


@pytest.fixture(scope="module")
def stored(shop):
    """The bytes of a checkpoint of two small fits."""
    from linnet_trainer.fit.checkpoints import RunProgress, to_bytes
    from linnet_trainer.fit.fitting import FitProgress
    from linnet_trainer.fit.loop_state import LoopState

    state = LoopState(np.arange(9, dtype=np.float32), (np.ones(9),), (np.ones(2),), 3)
    fits = [FitProgress(state, best=state, epoch=number) for number in (1, 2)]
    return to_bytes(RunProgress(1, fits[0], fits[1:]), "spec")


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))),
    left=st.floats(0, 1),
)
def test_a_damaged_checkpoint_is_read_or_refused(stored, changes, left):
    """Whatever bytes are changed or missing, reading gives the progress or a refusal by name."""
    from linnet_trainer.fit.checkpoints import from_bytes

    damaged = bytearray(stored)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    damaged = damaged[: int(left * len(damaged))]
    try:
        found = from_bytes(bytes(damaged), "spec")
        told = (found.fold, len(found.done))
    except InvalidInput as error:
        told = error.violations[0].field
    assert told in {(1, 1), "checkpoint/state.npz"}
