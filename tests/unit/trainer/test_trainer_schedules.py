"""Learning rates, patience and checkpoints' bookkeeping."""

import numpy as np
import pytest
from linnet_ml.spec import EarlyStopping, FitSettings, Schedule, ScheduleKind
from linnet_trainer.fit.rates import epoch_rates
from linnet_trainer.fit.watching import Watch


def test_cosine_warms_up_then_falls_to_its_minimum():
    """Rates rise linearly over the warm-up, never rise after it, and end at the minimum."""
    fit = FitSettings(
        epochs=10,
        learning_rate=0.1,
        schedule=Schedule(kind=ScheduleKind.COSINE, warmup_epochs=2, min_learning_rate=0.001),
    )
    rates = np.concatenate([epoch_rates(fit, epoch, 5) for epoch in range(10)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.01, rtol=1e-6)
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[10] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.001)


def test_plateau_halves_the_rate_after_its_patience():
    """Two epochs without improvement multiply the rate by the factor, down to the minimum."""
    fit = FitSettings(
        epochs=10,
        learning_rate=0.1,
        schedule=Schedule(
            kind=ScheduleKind.REDUCE_ON_PLATEAU,
            factor=0.5,
            patience_epochs=2,
            min_learning_rate=0.04,
        ),
    )
    watch, rates = Watch(), []
    for epoch, loss in enumerate([1.0, 0.9, 0.9, 0.9, 0.9, 0.9], start=1):
        watch = watch.after(fit, epoch, loss)
        rates.append(float(epoch_rates(fit, epoch, 1, watch.plateau_factor)[0]))
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.05, 0.04], rtol=1e-6)


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_patience_is_counted_as_keras_counts_it(patience):
    """Both kinds of patience act at the end of the epoch where Keras' do: 0 is 1."""
    fit = FitSettings(
        early_stopping=EarlyStopping(patience_epochs=patience),
        schedule=Schedule(ScheduleKind.REDUCE_ON_PLATEAU, factor=0.5, patience_epochs=patience),
    )
    watch, found = Watch(), []
    for epoch, loss in enumerate([1.0, 0.9, 0.9, 0.8, 0.9, 0.9], start=1):
        watch = watch.after(fit, epoch, loss)
        found.append((watch.should_stop(fit), watch.plateau_factor))
    # What the callbacks of Keras 3 do with these losses.
    at_once = [(False, 1), (False, 1), (True, 0.5), (False, 0.5), (True, 0.25), (True, 0.125)]
    later = [(False, 1)] * 5 + [(True, 0.5)]
    assert found == (later if patience == 2 else at_once)


def test_early_stopping_counts_only_real_improvement():
    """An improvement below min_delta does not renew the patience, but is still the best epoch."""
    fit = FitSettings(early_stopping=EarlyStopping(patience_epochs=2, min_delta=0.1))
    watch = Watch()
    stops = []
    for epoch, loss in enumerate([1.0, 0.95, 0.93], start=1):
        watch = watch.after(fit, epoch, loss)
        stops.append(watch.should_stop(fit))
    assert stops == [False, False, True]
    assert watch.best_epoch == 3
