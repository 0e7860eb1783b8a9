"""Trainings whose loss or weights become infinite or no numbers."""

import itertools
import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from linnet_ml.spec import Architecture, LayerList, Optimizer
from linnet_ml.splits import Fold, Split
from linnet_trainer.fit.epochs import Ending

from tests.fakes.training import Recorder, digits, spec, train


def large(folder):
    data = digits(folder)
    features = np.random.default_rng(1).normal(size=data.features.shape).astype(np.float32) * 1e30
    return replace(data, features=features)


def diverging(**fit):
    settings = {"learning_rate": 1.0, "optimizer": Optimizer.SGD} | fit
    return spec(Architecture(layers=LayerList(())), **settings)


def test_divergence_is_told_apart(shop, tmp_path):
    """A loss that is not a number from the first epoch on fails the run with its reason."""
    from linnet_trainer.run_contract import Diverged

    with pytest.raises(Diverged, match="learning rate"):
        train(shop, diverging(), large(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_limit_in_a_diverging_epoch_exports_no_broken_weights(shop, tmp_path, keep_best):
    """Weights that are no numbers are never a run's model, though no epoch's loss was seen."""
    from linnet_trainer.run_contract import Diverged
    from linnet_trainer.training import Trainer

    ticks = itertools.count()
    timed = replace(shop, trainer=Trainer(lambda: next(ticks) * 0.01))
    # Two chunks of a step, then the epoch's other steps, each of five looks at the clock.
    given = diverging(keep_best=keep_best, time_limit=timedelta(milliseconds=145))
    events = Recorder()
    with pytest.raises(Diverged, match="learning rate"):
        train(timed, given, large(tmp_path), tmp_path / "out", events=events)
    assert events.epochs == []
    assert not list((tmp_path / "out").iterdir())


def test_weights_that_broke_after_the_best_epoch_give_way_to_it():
    """Without keep_best the last weights count only while they are numbers."""
    from linnet_trainer.choosing import Fitted, result_of
    from linnet_trainer.fit.fitting import FitProgress
    from linnet_trainer.fit.loop_state import LoopState

    best, broken = (LoopState(np.array([value], np.float32), (), ()) for value in (1.0, np.nan))
    rows = np.zeros((2, 1), np.float32)
    prepared = SimpleNamespace(data=SimpleNamespace(validation=None), training=rows, scaler=None)
    fitted = Fitted(Fold("", np.arange(2), np.arange(0)), prepared, None, None)
    given = spec(keep_best=False)
    for state, expected in ((broken, best), (best, best)):
        progress = FitProgress(state, best=best)
        result = result_of(fitted, progress, Ending.TIME_LIMIT, given, look=None)
        assert result.state is expected


@pytest.mark.parametrize(("ending", "expected"), [(Ending.COMPLETED, 2), (Ending.TIME_LIMIT, 1)])
def test_a_final_fit_that_was_cut_short_gives_way_to_the_best_fold(ending, expected):
    """A limit that comes in the final fit's first epoch must not export what is barely trained."""
    from linnet_trainer.choosing import exported_fit

    fold = Fold("", np.arange(2), np.arange(0))
    split = Split((fold, fold), fold, np.arange(0), ())
    losses = (0.5, 0.25, math.inf)
    results = [
        SimpleNamespace(ending=end, progress=SimpleNamespace(watch=SimpleNamespace(best_loss=loss)))
        for loss, end in zip(losses, (Ending.COMPLETED, Ending.COMPLETED, ending), strict=True)
    ]
    assert exported_fit(results, split) == expected
