"""What a script's own `fit` gets as `settings`, and which of it the fit never asked for."""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from linnet_ml.presets import FitDefaults
from linnet_ml.spec import ClassBalance, FitSettings, Optimizer, ScheduleKind

from linnet_trainer.fit.rates import epoch_rates

Augment = Callable[[Any], Any]


class ScriptSettings(SimpleNamespace):
    """Values by name; notes which ones are read."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._read: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "__dict__":
            super().__getattribute__("_read").update(value)
        elif not name.startswith("_"):
            super().__getattribute__("_read").add(name)
        return value

    def read(self) -> frozenset[str]:
        """Name the values that were read so far."""
        return frozenset(super().__getattribute__("_read"))


class StepRates(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """The learning rate of each step, from a table; its last one goes on."""

    def __init__(self, rates: Any) -> None:
        self._rates = np.asarray(rates, np.float32)

    def __call__(self, step: Any) -> Any:
        """Give the rate of a step, from 0."""
        place = tf.minimum(tf.cast(step, tf.int32), len(self._rates) - 1)
        return tf.gather(tf.constant(self._rates), place)

    def get_config(self) -> dict[str, Any]:
        """Give what makes another one."""
        return {"rates": self._rates.tolist()}


def learning_rate(fit: FitSettings, steps: int) -> Any:
    """Make what a Keras optimizer takes as its learning rate.

    Args:
        fit: Resolved settings.
        steps: Steps an epoch.

    Returns:
        A number; a schedule over the steps where the settings have one.
    """
    if fit.schedule.kind is not ScheduleKind.COSINE:
        return fit.learning_rate
    return StepRates(np.concatenate([epoch_rates(fit, n, steps) for n in range(fit.epochs)]))


def optimizer(fit: FitSettings, rate: Any) -> Any:
    """Make the Keras optimizer of resolved settings."""
    kinds = keras.optimizers
    if fit.optimizer is Optimizer.SGD:
        return kinds.SGD(rate, momentum=fit.momentum)
    if fit.optimizer is Optimizer.RMSPROP:
        return kinds.RMSprop(rate, momentum=fit.momentum)
    if fit.optimizer is Optimizer.ADAMW:
        return kinds.AdamW(rate, weight_decay=fit.weight_decay or 0.0)
    return kinds.Adam(rate)


def loss(fit: FitSettings, class_count: int) -> Any:
    """Make the loss of resolved settings, from integer labels and probabilities."""
    if not fit.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()

    def smoothed(labels: Any, scores: Any) -> Any:
        flat = tf.cast(tf.reshape(labels, (-1,)), tf.int32)
        return keras.losses.categorical_crossentropy(
            tf.one_hot(flat, class_count), scores, label_smoothing=fit.label_smoothing
        )

    return smoothed


def augment(change: Callable[[Any, Any], Any] | None, seed: int, epoch: int) -> Augment | None:
    """Make the change of a batch of training rows, seeded by run and first epoch; None for none."""
    if change is None:
        return None
    draws = tf.random.Generator.from_seed((seed * 1_000_003 + epoch) % 2**63, alg="philox")

    def changed(rows: Any) -> Any:
        return change(tf.cast(rows, tf.float32), draws.uniform_full_int((2,), dtype=tf.int32))

    return changed


def without_effect(
    fit: FitSettings, read: frozenset[str], *, augmented: bool
) -> Iterator[tuple[str, str]]:
    """Give each setting that differs from its default and was never asked for.

    Args:
        fit: Resolved settings.
        read: What the script read of its `settings`.
        augmented: Whether the spec asks for augmentation.

    Returns:
        Path of the setting in a spec, and names of `settings` that would have had it.
    """
    usual = FitDefaults()
    asked: Mapping[str, tuple[bool, tuple[str, ...]]] = {
        "fit.epochs": (fit.epochs != usual.epochs, ("epochs",)),
        "fit.batch_size": (fit.batch_size != usual.batch_size, ("batch_size",)),
        "fit.learning_rate": (
            fit.learning_rate != usual.learning_rate,
            ("optimizer", "schedule", "learning_rate"),
        ),
        "fit.optimizer": (fit.optimizer is not Optimizer.ADAM, ("optimizer",)),
        "fit.momentum": (fit.momentum != 0, ("optimizer", "momentum")),
        "fit.schedule": (
            fit.schedule.kind is not ScheduleKind.CONSTANT,
            ("optimizer", "schedule"),
        ),
        "fit.label_smoothing": (fit.label_smoothing != 0, ("loss", "label_smoothing")),
        "fit.class_balance": (fit.class_balance is ClassBalance.WEIGHTS, ("class_weight",)),
        "augmentation": (augmented, ("augment",)),
    }
    for path, (differs, names) in asked.items():
        if differs and not read.intersection(names):
            yield path, " or ".join(f"settings.{name}" for name in names)
