"""What a run says of the time it will still take, on the real clock."""

import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from linnet_ml.samples import Samples
from linnet_ml.spec import ExportOptions, SplitMethod, SplitSpec

from tests.fakes.training import Recorder, spec, train, wine

pytestmark = pytest.mark.alone

EPOCHS = 120
PLAIN = SplitSpec()
FOLDS = SplitSpec(method=SplitMethod.K_FOLD, fold_count=4, final_fit=True)


class Timed(Recorder):
    """Notes when each epoch ended."""

    def __init__(self):
        super().__init__()
        self.moments = []

    def epoch(self, record, line, ratio):
        super().epoch(record, line, ratio)
        self.moments.append(time.monotonic())


@pytest.fixture
def fresh(shop):
    """A trainer that has traced nothing."""
    from linnet_trainer.training import Trainer

    return replace(shop, trainer=Trainer(time.monotonic))


def timed(shop, data, folder, split=PLAIN, **fit):
    events = Timed()
    given = replace(spec(**fit), split=split, export=ExportOptions(skip_int8=True))
    outcome, _ = train(shop, given, data, folder, events=events)
    return outcome, events


def test_the_first_estimate_counts_tracing_once(fresh, tmp_path):
    """After one epoch, tracing included, the time left is told within a factor of four."""
    _, events = timed(fresh, wine(tmp_path), tmp_path / "out", epochs=EPOCHS)
    left = events.moments[-1] - events.moments[0]
    first = events.epochs[0]
    assert left / 4 < first.eta_seconds < left * 4
    assert first.eta_seconds < first.seconds * EPOCHS / 4
    assert events.epochs[-1].eta_seconds == 0


def test_a_limit_that_is_long_enough_is_not_warned_of(fresh, shop, tmp_path):
    """A run that ends in a third of its time limit, most of it tracing, raises no warning."""
    from linnet_trainer.training import Trainer

    data = wine(tmp_path)
    taken, _ = timed(fresh, data, tmp_path / "first", epochs=EPOCHS)
    limit = timedelta(seconds=3 * taken.figures.train_seconds)
    again = replace(shop, trainer=Trainer(time.monotonic))
    outcome, events = timed(again, data, tmp_path / "again", epochs=EPOCHS, time_limit=limit)
    assert outcome.figures.warnings == ()
    assert len(events.epochs) == EPOCHS


def test_estimates_count_every_fold_and_the_final_fit(fresh, tmp_path):
    """The first fold tells the time to the end of all fits, and warns once if it is too short."""
    data = wine(tmp_path, Samples(group=np.array([f"g{n % 8}" for n in range(178)])))
    _, events = timed(fresh, data, tmp_path / "out", FOLDS, epochs=EPOCHS)
    left, own = (events.moments[end] - events.moments[1] for end in (-1, EPOCHS - 1))
    assert own < events.epochs[1].eta_seconds < left * 4
    assert events.epochs[-1].eta_seconds == 0
    # Enough for the first fold, not for all five fits.
    limit = timedelta(seconds=2.5 * own)
    outcome, _ = timed(fresh, data, tmp_path / "short", FOLDS, epochs=EPOCHS, time_limit=limit)
    assert len([w for w in outcome.figures.warnings if "its limit leaves" in w]) == 1
