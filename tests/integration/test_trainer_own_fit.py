"""A script's own fit and the settings it is given: used, they hold; left, each is told."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import pytest
from linnet_ml.augmentation import Augmentation, TimeSeriesAugmentation
from linnet_ml.render_script import render
from linnet_ml.spec import (
    Architecture,
    ClassBalance,
    FitSettings,
    InputKind,
    LayerList,
    Optimizer,
    Schedule,
    ScheduleKind,
)
from linnet_trainer.fit.epochs import Ending

from tests.fakes.training import SMALL, run_data, spec, train, wine

pytestmark = pytest.mark.usefixtures("shop")
HEAD = "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
USING = HEAD + (
    "    import tensorflow as tf\n"
    "    model.compile(settings.optimizer, settings.loss, metrics=['accuracy'])\n"
    "    rows = tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(settings.batch_size)\n"
    "    rows = rows.map(lambda x, y: (settings.augment(x), y))\n"
    "    model.fit(rows, epochs=settings.epochs, class_weight=settings.class_weight,\n"
    "              validation_data=(x_val, y_val), callbacks=settings.callbacks, verbose=0)\n"
)
LEAVING = HEAD + (
    "    model.compile('adam', 'sparse_categorical_crossentropy')\n"
    "    model.fit(x_train, y_train, epochs=2, verbose=0)\n"
)
ASKED = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.02,
    "optimizer": Optimizer.SGD,
    "momentum": 0.9,
    "label_smoothing": 0.1,
    "class_balance": ClassBalance.WEIGHTS,
    "schedule": Schedule(ScheduleKind.COSINE, warmup_epochs=1),
}


def windows(folder):
    labels = np.arange(60) % 3
    rows = np.random.default_rng(0).normal(size=(60, 8, 2)) + labels[:, None, None]
    return run_data(folder, rows, labels, InputKind.TIME_SERIES)


def asked(source, **fit):
    """Ask for every setting that a fit of one's own could leave."""
    script = render(LayerList(), (8, 2), 3) + source
    return replace(
        spec(Architecture(script=script), **(ASKED | fit)),
        augmentation=Augmentation(time_series=TimeSeriesAugmentation(jitter=0.5)),
    )


def test_an_own_fit_trains_by_the_settings_it_is_given(shop, tmp_path):
    """Optimizer, schedule, smoothed loss, class weights and augmentation are ready to use."""
    import keras
    from linnet_trainer.fit.rates import epoch_rates

    given = asked(USING)
    outcome, events = train(shop, given, windows(tmp_path), tmp_path / "out")
    assert outcome.figures.warnings == ()
    fit = replace(given.fit, epochs=3)
    expected = [epoch_rates(fit, number, 3)[-1] for number in range(3)]
    told = [epoch.learning_rate for epoch in events.epochs]
    # Keras tells the rate of the step to come, the table's last one after the last.
    assert told[:2] == pytest.approx([epoch_rates(fit, n, 3)[0] for n in (1, 2)])
    assert told[2] == pytest.approx(expected[2])
    keras.models.load_model(tmp_path / "out" / "model.keras")


def test_what_an_own_fit_leaves_of_its_settings_is_told(shop, tmp_path):
    """Each setting that differs from its default and is not used has a warning of its own."""
    outcome, events = train(shop, asked(LEAVING), windows(tmp_path), tmp_path / "out")
    told = [w.partition(" has no effect: ")[0] for w in outcome.figures.warnings]
    assert told[:-1] == [
        "fit.epochs",
        "fit.batch_size",
        "fit.learning_rate",
        "fit.optimizer",
        "fit.momentum",
        "fit.schedule",
        "fit.label_smoothing",
        "fit.class_balance",
        "augmentation",
    ]
    assert "did not hand settings.callbacks to model.fit" in told[-1]
    assert len(events.epochs) == 1


@pytest.mark.parametrize(
    ("fit", "name", "config"),
    [
        ({}, "Adam", {}),
        ({"optimizer": Optimizer.ADAMW, "weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
        ({"optimizer": Optimizer.ADAMW, "weight_decay": 0.0}, "AdamW", {"weight_decay": 0.0}),
        ({"optimizer": Optimizer.SGD, "momentum": 0.9}, "SGD", {"momentum": 0.9}),
        ({"optimizer": Optimizer.RMSPROP, "momentum": 0.5}, "RMSprop", {"momentum": 0.5}),
    ],
)
def test_the_given_optimizer_is_that_of_the_settings(fit, name, config):
    """Kind, rate, momentum and decay are the spec's."""
    from linnet_trainer.scripts import fit_settings

    settings = FitSettings(**({"optimizer": Optimizer.ADAM, "learning_rate": 0.25} | fit))
    settings = replace(settings, schedule=Schedule(ScheduleKind.CONSTANT))
    made = fit_settings.optimizer(settings, fit_settings.learning_rate(settings, 5))
    assert type(made).__name__ == name
    assert float(made.learning_rate) == 0.25
    assert {key: made.get_config()[key] for key in config} == pytest.approx(config)


def test_the_given_loss_and_changes_are_those_of_the_compiled_loop():
    """Smoothing gives the loop's loss, and augmentation draws anew for each batch, by its seed."""
    from linnet_trainer.fit.augment import changes_for
    from linnet_trainer.fit.losses import loss_of
    from linnet_trainer.scripts import fit_settings

    rng = np.random.default_rng(1)
    labels = np.arange(12) % 3
    scores = rng.dirichlet(np.ones(3), 12).astype(np.float32)
    for smoothing in (0.0, 0.2):
        made = fit_settings.loss(FitSettings(label_smoothing=smoothing), 3)
        mean = float(np.mean(made(labels, scores)))
        assert mean == pytest.approx(float(loss_of(smoothing, 3)(labels, scores)), rel=1e-6)

    jitter = Augmentation(time_series=TimeSeriesAugmentation(jitter=0.5))
    change = partial(changes_for(jitter, None), bounds=np.zeros(2))
    rows = rng.normal(size=(4, 8, 2)).astype(np.float32)
    one, again, other = (fit_settings.augment(change, 1, epoch) for epoch in (0, 0, 3))
    first, second = np.asarray(one(rows)), np.asarray(one(rows))
    assert np.std(first - rows) == pytest.approx(0.5, rel=0.3)
    assert (first != second).any()
    np.testing.assert_array_equal(first, again(rows))
    assert (first != np.asarray(other(rows))).any()
    assert fit_settings.augment(None, 1, 0) is None


def test_a_plateau_reduces_the_rate_of_the_given_optimizer(shop, tmp_path):
    """With the spec's optimizer, the spec's reduction on a plateau is in force."""
    source = render(SMALL, (13,), 3) + USING.replace(
        "    rows = rows.map(lambda x, y: (settings.augment(x), y))\n", ""
    )
    plateau = Schedule(ScheduleKind.REDUCE_ON_PLATEAU, factor=0.5, patience_epochs=1)
    given = spec(
        Architecture(script=source), epochs=8, learning_rate=1.0, schedule=plateau, batch_size=32
    )
    _, events = train(shop, given, wine(tmp_path), tmp_path / "out")
    rates = [epoch.learning_rate for epoch in events.epochs]
    assert rates[-1] < rates[0] == 1.0
    assert set(rates) <= {0.5**power for power in range(9)}


def test_a_long_validation_is_told_of_and_ended(shop, tmp_path):
    """While rows are validated the share that is done comes on, and a limit cuts them short."""
    slow = HEAD + (
        "    import time\n"
        "    class Slow(keras.callbacks.Callback):\n"
        "        def on_test_batch_end(self, batch, logs=None):\n"
        "            time.sleep(0.3)\n"
        "    model.compile('adam', 'sparse_categorical_crossentropy')\n"
        "    model.fit(x_train, y_train, validation_data=(x_val, y_val), validation_batch_size=1,\n"
        "              epochs=50, verbose=0, callbacks=[*settings.callbacks, Slow()])\n"
    )
    given = asked(slow, time_limit=timedelta(seconds=6))
    outcome, events = train(shop, given, windows(tmp_path), tmp_path / "out")
    assert outcome.ending is Ending.TIME_LIMIT
    # Sixty windows validate a fifth: 3.6 s an epoch, of which the second is cut.
    assert len(events.epochs) == 1
    assert len(events.ratios) > 2 * len(events.epochs)
    assert events.ratios == sorted(events.ratios)
