"""Passes over rows without training: they tell how far they are, and end when they must."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from linnet_ml.defaults import layers_of
from linnet_ml.spec import Architecture, ExportOptions, InputKind, SplitMethod, SplitSpec
from linnet_trainer.fit.epochs import Ending

from tests.fakes.training import Recorder, digits, spec, train, weights_of

HELD = SplitSpec(validation_share=0.8)
TRAINED = 3 * 0.2 / (3 * 0.2 + 0.8)
"""Share of an epoch's work that is done when its validation begins."""


class Ended(Recorder):
    """Asks for an end once more than a share of the training is done."""

    def __init__(self, share, ending):
        super().__init__(ending=ending)
        self.share = share

    def interruption(self):
        return self.ending if self.ratios and self.ratios[-1] > self.share else None


@pytest.fixture
def parts(shop, monkeypatch):
    """A trainer that scores 20 rows at once, on a clock of half a second a look."""
    from linnet_trainer.training import Trainer

    monkeypatch.setattr("linnet_trainer.fit.inference.MOST_ROWS", 20)
    ticks = itertools.count()
    return replace(shop, trainer=Trainer(lambda: next(ticks) * 0.5))


def run(shop, folder, out, *, split=HELD, events=None, fit=(), **more):
    given = replace(spec(epochs=1, **dict(fit)), split=split, export=ExportOptions(skip_int8=True))
    return train(shop, given, digits(folder), folder / out, events=events, **more)


def test_a_long_validation_tells_its_progress(parts, tmp_path):
    """Between the last step and the epoch's figures the share that is done goes on to rise."""
    _, events = run(parts, tmp_path, "out")
    inside = [ratio for ratio in events.ratios if TRAINED + 0.01 < ratio < 1]
    assert len(inside) > 5
    assert events.ratios == sorted(events.ratios)


def test_a_run_that_is_ended_in_its_validation_resumes_to_the_same_bits(parts, tmp_path):
    """The epoch's steps are kept, its validation is made again, and nothing else differs."""
    whole, undisturbed = run(parts, tmp_path, "whole")
    events = Ended(0.8, Ending.TERMINATED)
    cut, _ = run(parts, tmp_path, "cut", events=events)
    assert cut.ending is Ending.TERMINATED
    assert events.epochs == []
    again, later = run(parts, tmp_path, "again", checkpoint=events.saved[-1], attempt=2)
    assert weights_of(again) == weights_of(whole)
    assert later.epochs[0].val_loss == undisturbed.epochs[0].val_loss
    assert any("Resuming after epoch 0, step 3" in line for line in later.lines)


def test_a_time_limit_ends_a_validation(parts, tmp_path):
    """What was trained before is exported, though no epoch has ended."""
    outcome, events = run(parts, tmp_path, "out", fit={"time_limit": timedelta(seconds=25)}.items())
    assert outcome.ending is Ending.TIME_LIMIT
    assert events.epochs == []
    assert events.ratios[-1] > TRAINED + 0.01
    assert "model.float32.tflite" in outcome.files


def test_scoring_a_fold_ends_on_a_wish(parts, tmp_path):
    """A cancelled run does not score the rows of the fold that it has trained."""
    folds = SplitSpec(method=SplitMethod.K_FOLD, fold_count=2)
    events = Ended(0.49, Ending.CANCELLED)
    outcome, _ = run(parts, tmp_path, "out", split=folds, events=events)
    assert outcome.ending is Ending.CANCELLED
    assert [epoch.fold for epoch in events.epochs] == [1]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("preset", "shape", "kind", "rows"),
    [
        ("dense", (33,), InputKind.SPECTRAL, 1024),
        ("conv2d", (50, 13), InputKind.AUDIO, 1024),
        ("resnet-8", (32, 32, 1), InputKind.IMAGE, 80),
    ],
)
def test_heavier_networks_score_fewer_rows_at_once(preset, shape, kind, rows):
    """A call takes as many rows as it does 1e9 products for, at most 1,024."""
    from linnet_trainer import models
    from linnet_trainer.fit.inference import rows_at_once

    layers = layers_of(Architecture(preset=preset), kind, shape)
    assert rows_at_once(models.build(layers, shape, 4).model) == pytest.approx(rows, rel=0.1)
