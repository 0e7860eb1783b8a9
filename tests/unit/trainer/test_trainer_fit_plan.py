"""How long the fits of a run train, and what is still to come."""

import numpy as np
import pytest
from linnet_ml.spec import (
    EarlyStopping,
    FitSettings,
    Schedule,
    ScheduleKind,
    SplitSpec,
    TrainingSpec,
)
from linnet_ml.splits import Fold, Split
from linnet_trainer.fit.epochs import EpochRecord
from linnet_trainer.fit.fitting import FitProgress
from linnet_trainer.fit.watching import Watch
from linnet_trainer.fit_plan import FitPlan


def plan(*, extra=0, folds=3, **fit):
    rows = np.arange(100)
    split = Split(
        tuple(Fold(f"fold {n}", rows[:50], rows[50:]) for n in range(folds)),
        Fold("final", rows, rows[:0]),
        rows[:0],
        (),
    )
    settings = FitSettings(epochs=30, **{"keep_best": True} | fit)
    return FitPlan(split, TrainingSpec(fit=settings, split=SplitSpec(extra_epochs=extra)))


def done(best, epochs, seconds=1.0):
    history = [
        EpochRecord(n, 1, 1.0, 0.5, 1.0, 0.5, 0.1, seconds, 0.0, best=n == best)
        for n in range(1, epochs + 1)
    ]
    return FitProgress(None, epoch=epochs, history=history, watch=Watch(best_epoch=best))


FOLDS = [done(4, 14), done(7, 17), done(9, 19)]
"""Stopped early, ten epochs after the best one."""


@pytest.mark.parametrize(("extra", "epochs"), [(0, 7), (5, 12)])
def test_the_final_fit_trains_as_long_as_the_folds_kept(extra, epochs):
    """Its epochs are the median of the best ones, patience left out, and the extra ones."""
    found = plan(extra=extra, early_stopping=EarlyStopping(10)).settings(3, FOLDS)
    assert (found.epochs, found.early_stopping) == (epochs, None)


def test_the_final_fit_ends_after_its_warm_up():
    """Folds that kept earlier epochs than the warm-up has leave it an epoch at the full rate."""
    schedule = Schedule(ScheduleKind.COSINE, warmup_epochs=8)
    assert plan(schedule=schedule).settings(3, FOLDS).schedule.warmup_epochs == 6
    short = Schedule(ScheduleKind.COSINE, warmup_epochs=2)
    assert plan(schedule=short).settings(3, FOLDS).schedule == short


def test_without_keep_best_the_last_epochs_count():
    """Folds whose last weights count say how many epochs that took."""
    assert plan(keep_best=False).settings(3, FOLDS).epochs == 17


def test_what_comes_later_counts_in_rows():
    """Two folds and a final fit of twice the rows; what earlier folds took is what later ones will.

    Time besides epochs is known from the second fit on: the first one traces.
    """
    first = plan(extra=2).later(0, [])
    assert (first.epochs, first.seconds) == (30 + 30 + 2 * 32, 0)
    later = plan(extra=2)
    later.took(20.0, FOLDS[0].history)
    later.took(18.5, FOLDS[1].history)
    left = later.later(2, FOLDS[:2])
    assert left.epochs == 2 * (round((4 + 7) / 2) + 2)
    assert left.time(2.0) == pytest.approx(2 * left.epochs + 1.5)
