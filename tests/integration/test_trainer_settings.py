"""Settings on real data: each does to a training what its field says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from linnet_ml.augmentation import (
    Augmentation,
    ImageAugmentation,
    SpectrogramAugmentation,
    TimeSeriesAugmentation,
)
from linnet_ml.samples import Samples
from linnet_ml.spec import (
    Architecture,
    ExportOptions,
    InputKind,
    InputScaling,
    Schedule,
    ScheduleKind,
    SplitMethod,
    SplitSpec,
)
from linnet_sdk.examples import smartwatch

from tests.fakes.training import digits, run_data, spec, train, wine

FLOAT_ONLY = ExportOptions(skip_int8=True)


def trained(shop, given, data, out):
    return train(shop, replace(given, export=FLOAT_ONLY), data, out)


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text())


def rows_of(out, side):
    with np.load(out / "split.npz") as split:
        return split[side]


def probabilities(out, data, rows):
    """Give what a run's model says of rows, scaled as its manifest has it."""
    import keras

    scaling = manifest_of(out)["input_scaling"]
    scaled = (np.asarray(data.features)[rows] - scaling["offset"]) * scaling["factor"]
    return np.asarray(keras.models.load_model(out / "model.keras")(scaled.astype(np.float32)))


def test_label_smoothing_keeps_the_model_from_being_too_sure(shop, tmp_path):
    """With a share s spread over 3 classes no label asks for more than 1 - s + s / 3."""
    data = wine(tmp_path)
    sure = {}
    for smoothing in (0.0, 0.3):
        out = tmp_path / str(smoothing)
        given = spec(epochs=60, label_smoothing=smoothing, keep_best=False)
        outcome, _ = trained(shop, given, data, out)
        assert outcome.figures.val_accuracy >= 0.85
        sure[smoothing] = probabilities(out, data, rows_of(out, "training")).max(axis=1).mean()
    assert sure[0.0] > 0.95
    assert sure[0.3] == pytest.approx(0.8, abs=0.07)


def test_without_validation_the_lowest_training_loss_is_kept(shop, tmp_path):
    """All rows train, epochs have no validation figures, and the best of them is exported."""
    data = wine(tmp_path)
    given = replace(
        spec(epochs=25, learning_rate=0.3, batch_size=8, seed=1),
        split=SplitSpec(no_validation=True),
    )
    outcome, events = trained(shop, given, data, tmp_path / "out")
    losses = [epoch.loss for epoch in events.epochs]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1
    assert outcome.figures.best_epoch == best + 1
    assert [epoch.number for epoch in events.epochs if epoch.best][-1] == best + 1
    assert {epoch.val_loss for epoch in events.epochs} == {None}
    assert (rows_of(tmp_path / "out", "training") == np.arange(178)).all()
    shorter = replace(given, fit=replace(given.fit, epochs=best + 1, keep_best=False))
    cut, _ = trained(shop, shorter, data, tmp_path / "cut")
    assert cut.figures.weights_sha256 == outcome.figures.weights_sha256


def test_robust_scaling_is_of_medians_and_quartiles_of_training_rows(shop, tmp_path):
    """The manifest's offset is the median, its factor one over the interquartile range."""
    data, out = wine(tmp_path), tmp_path / "out"
    given = replace(spec(epochs=30), input_scaling=InputScaling.ROBUST)
    outcome, _ = trained(shop, given, data, out)
    assert outcome.figures.val_accuracy >= 0.85
    rows = np.asarray(data.features, np.float64)[rows_of(out, "training")]
    low, middle, high = np.percentile(rows, [25, 50, 75], axis=0)
    scaling = manifest_of(out)["input_scaling"]
    np.testing.assert_allclose(scaling["offset"], middle, rtol=1e-5)
    np.testing.assert_allclose(scaling["factor"], 1 / (high - low), rtol=1e-5)


def test_a_cosine_with_warm_up_trains(shop, tmp_path):
    """The rate rises over the warm-up and falls to its minimum, and wine is learnt."""
    schedule = Schedule(ScheduleKind.COSINE, warmup_epochs=5, min_learning_rate=0.001)
    given = spec(epochs=40, learning_rate=0.05, schedule=schedule)
    outcome, events = trained(shop, given, wine(tmp_path), tmp_path / "out")
    rates = [epoch.learning_rate for epoch in events.epochs]
    np.testing.assert_allclose(rates[:5], 0.05 * np.arange(1, 6) / 5, rtol=1e-5)
    assert (np.diff(rates[4:]) < 0).all()
    assert rates[-1] == pytest.approx(0.001)
    assert outcome.figures.val_accuracy >= 0.85


def test_rows_that_the_dataset_marks_validate_to_the_row(shop, tmp_path):
    """They are the validation set of a spec without a split, and neither train nor test."""
    marks, tests = np.arange(178) % 6 == 1, np.arange(178) % 9 == 5
    data, out = wine(tmp_path, Samples(test=tests, validation=marks)), tmp_path / "out"
    _, events = trained(shop, spec(epochs=2), data, out)
    assert {epoch.val_loss is None for epoch in events.epochs} == {False}
    assert (rows_of(out, "validation") == np.flatnonzero(marks)).all()
    assert (rows_of(out, "test") == np.flatnonzero(tests)).all()
    assert (rows_of(out, "training") == np.flatnonzero(~marks & ~tests)).all()
    assert manifest_of(out)["spec"]["split"]["method"] == "SPLIT_METHOD_MARKED"


def test_an_explicit_validation_set_is_taken_to_the_row(shop, tmp_path):
    """The rows that are named validate, all others train, and the figures are of these rows."""
    named = tuple(range(1, 178, 6))
    data, out = wine(tmp_path), tmp_path / "out"
    given = replace(spec(epochs=10), split=SplitSpec(validation_rows=named))
    outcome, _ = trained(shop, given, data, out)
    assert tuple(rows_of(out, "validation")) == named
    assert sorted([*rows_of(out, "training"), *named]) == list(range(178))
    right = probabilities(out, data, list(named)).argmax(axis=1) == data.labels[list(named)]
    assert outcome.figures.val_accuracy == pytest.approx(right.mean())


@pytest.fixture(scope="module")
def recordings():
    """Real recordings of four people, every third window of 2 s."""
    cut = smartwatch.cut_windows(*smartwatch.installed_recordings())
    kept = np.flatnonzero(np.isin(cut.subjects, ["s01", "s02", "s03", "s04"]))[::3]
    return cut, kept


def test_named_people_validate(shop, recordings, tmp_path):
    """Groups given as the validation set keep all windows of a person out of training."""
    cut, kept = recordings
    people = Samples(group=cut.subjects[kept])
    data = run_data(tmp_path, cut.values[kept], cut.labels[kept], InputKind.TIME_SERIES, people)
    split = SplitSpec(method=SplitMethod.EXPLICIT, validation_groups=("s02", "s04"))
    given = replace(spec(Architecture(preset="conv1d"), epochs=2), split=split)
    trained(shop, given, data, tmp_path / "out")
    for side, expected in (("training", {"s01", "s03"}), ("validation", {"s02", "s04"})):
        assert set(cut.subjects[kept][rows_of(tmp_path / "out", side)]) == expected


def motion(folder, recordings):
    cut, kept = recordings
    return run_data(folder, cut.values[kept], cut.labels[kept], InputKind.TIME_SERIES)


def spectrograms(folder, recordings):
    """Nine frames of 0.4 s by four bands of each channel, to 7.5 Hz."""
    cut, kept = recordings
    values = cut.values[kept]
    frames = np.stack([values[:, start : start + 20] for start in range(0, 81, 10)], axis=1)
    found = np.abs(np.fft.rfft(frames * np.hanning(20)[:, None], axis=2))[:, :, :4]
    bands = np.log1p(found).reshape(*found.shape[:2], -1)
    return run_data(folder, bands, cut.labels[kept], InputKind.AUDIO)


def images(folder, _recordings):
    return digits(folder, 600)


CHANGES = {
    "motion": (
        "conv1d",
        motion,
        Augmentation(
            time_series=TimeSeriesAugmentation(jitter=0.05, scale=0.1, shift_steps=10, drift=0.1)
        ),
    ),
    "audio": (
        "conv1d",
        spectrograms,
        Augmentation(
            spectrogram=SpectrogramAugmentation(
                time_mask_count=1,
                time_mask_frames=2,
                frequency_mask_count=1,
                frequency_mask_bands=2,
                noise=0.1,
                warp_frames=2,
            )
        ),
    ),
    "images": (
        "conv2d",
        images,
        Augmentation(image=ImageAugmentation(shift=0.1, zoom=0.1, brightness=0.2)),
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_real_recordings_are_learnt_with_changes(shop, recordings, tmp_path, kind):
    """Changed rows make training harder, and what is not changed is told apart all the same."""
    preset, make, augmentation = CHANGES[kind]
    data = make(tmp_path, recordings)
    plain = spec(Architecture(preset=preset), epochs=20, learning_rate=0.005)
    losses = {}
    for name, given in (("plain", plain), ("changed", replace(plain, augmentation=augmentation))):
        outcome, events = trained(shop, given, data, tmp_path / name)
        losses[name] = events.epochs[-1].loss
    assert losses["changed"] > losses["plain"]
    assert outcome.figures.val_accuracy > 3 / len(data.classes)
