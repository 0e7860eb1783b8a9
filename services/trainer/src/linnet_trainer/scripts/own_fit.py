"""Trains by a script's own `fit`, with callbacks that report, keep the best and end in time."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import keras
import numpy as np
from linnet_ml.spec import ClassBalance, ScheduleKind

from linnet_trainer.choosing import Fitted
from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.fit.fitting import FitHooks, FitProgress, FoldSettings
from linnet_trainer.fit.fold_rows import class_weights
from linnet_trainer.fit.loop_state import LoopState
from linnet_trainer.fit.rates import epoch_rates
from linnet_trainer.scripts import fit_settings
from linnet_trainer.scripts.source import users_lines

_LEAST_RATIO_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OwnFit:
    """One fit by a script's own function.

    Attributes:
        function: The script's `fit`.
        fitted: Rows and model; its loop reads and scores the model and takes no step.
        settings: What the fit follows.
        hooks: Who hears of it.
        monotonic: Gives the time, in seconds.
        resumes: Whether the function goes on from `settings.initial_epoch`.
    """

    function: Callable[..., Any]
    fitted: Fitted
    settings: FoldSettings
    hooks: FitHooks
    monotonic: Callable[[], float]
    resumes: bool
    # What the function freezes or thaws changes neither what these are nor their order.
    _variables: tuple[Sequence[Any], Sequence[Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Note the variables as the model was built."""
        model = self.fitted.model
        variables = (list(model.trainable_variables), list(model.non_trainable_variables))
        object.__setattr__(self, "_variables", variables)

    def run(self, progress: FitProgress) -> Ending:
        """Call the function; changes `progress`.

        Raises:
            ScriptFailed: It raised.
        """
        if progress.history and self.monotonic() >= self.settings.deadline:
            return Ending.TIME_LIMIT
        if progress.epoch and self.resumes and progress.watch.should_stop(self.settings.fit):
            return Ending.EARLY_STOPPING
        if progress.epoch and not self.resumes:
            self.hooks.warn(
                f"The script's fit names no settings.initial_epoch: the {progress.epoch} epochs "
                "of the attempt before are trained again."
            )
            anew = FitProgress(self.fitted.loop.fresh_state(self.fitted.model))
            for one in fields(FitProgress):
                setattr(progress, one.name, getattr(anew, one.name))
        if progress.epoch:
            self.fitted.loop.put_weights(progress.state, self.fitted.model)
        watcher = _Watcher(self, progress)
        fit = self.settings.fit
        model = self.fitted.model
        prepared = self.fitted.prepared
        data = prepared.data
        index = data.index
        labels = np.asarray(data.training.labels)
        balance = fit.class_balance is ClassBalance.WEIGHTS
        weights = class_weights(labels, model.output_shape[-1]) if balance else None
        validation = data.validation
        settings = self._given(progress, watcher, weights)
        with users_lines(), _as_built(model):
            self.function(
                model,
                prepared.training[index],
                labels[index],
                None if validation is None else np.asarray(validation.features),
                None if validation is None else np.asarray(validation.labels),
                settings,
            )
        # Saved with the model it would name what only this process has, such as a loss of its own.
        vars(model).pop("_compile_config", None)
        self._warn_of_what_was_left(settings, watcher)
        progress.state = self._state()
        if not progress.history:
            self._judge(progress)
        return watcher.ending

    def _given(
        self, progress: FitProgress, watcher: "_Watcher", weights: Any
    ) -> fit_settings.ScriptSettings:
        fit = self.settings.fit
        steps = -(-len(self.fitted.prepared.data.index) // fit.batch_size)
        schedule = fit_settings.learning_rate(fit, steps)
        optimizer = fit_settings.optimizer(fit, schedule)
        watcher.given_optimizer = optimizer
        return fit_settings.ScriptSettings(
            epochs=fit.epochs,
            initial_epoch=progress.epoch,
            learning_rate=fit.learning_rate,
            schedule=schedule,
            optimizer=optimizer,
            momentum=fit.momentum,
            weight_decay=fit.weight_decay or 0.0,
            loss=fit_settings.loss(fit, self.fitted.model.output_shape[-1]),
            label_smoothing=fit.label_smoothing,
            batch_size=fit.batch_size,
            seed=fit.seed,
            class_weight=None if weights is None else {n: float(w) for n, w in enumerate(weights)},
            augment=fit_settings.augment(self._change(), fit.seed, progress.epoch),
            callbacks=[watcher],
        )

    def _change(self) -> Callable[[Any, Any], Any] | None:
        change, bounds = self.fitted.loop.change, self.fitted.prepared.data.training.bounds
        return None if change is None else lambda rows, seed: change(rows, seed, bounds)

    def _warn_of_what_was_left(
        self, settings: fit_settings.ScriptSettings, watcher: "_Watcher"
    ) -> None:
        augmented = self.fitted.loop.change is not None
        for path, names in fit_settings.without_effect(
            self.settings.fit, settings.read(), augmented=augmented
        ):
            self.hooks.warn(f"{path} has no effect: the script's fit does not use {names}.")
        if not watcher.trained:
            self.hooks.warn(
                "The script's fit did not hand settings.callbacks to model.fit: it counts as one "
                "epoch, nothing is shown while it trains, no limit or early stopping ends it, and "
                "its last weights count, not its best."
            )

    def _judge(self, progress: FitProgress) -> None:
        """Score the final weights of a fit that used no callbacks."""
        prepared = self.fitted.prepared
        rows = prepared.data.validation or prepared.data.training
        loss, accuracy = self.fitted.loop.score(progress.state, rows)
        train_loss, train_accuracy = loss, accuracy
        validated = prepared.data.validation is not None
        if validated:
            train_loss, train_accuracy = self.fitted.loop.score(
                progress.state, prepared.data.training
            )
        self.took(
            progress,
            {
                "loss": train_loss,
                "accuracy": train_accuracy,
                "val_loss": loss if validated else None,
                "val_accuracy": accuracy if validated else None,
            },
            seconds=0.0,
            last=True,
        )

    def took(
        self, progress: FitProgress, logs: dict[str, Any], *, seconds: float, last: bool = False
    ) -> Ending | None:
        """Take an epoch and say whether to end."""
        number = progress.epoch + 1
        values = {k: None if v is None else float(v) for k, v in logs.items()}
        loss = values.get("loss")
        val_loss = values.get("val_loss")
        monitored = next((v for v in (val_loss, loss) if v is not None), math.inf)
        fit = self.settings.fit
        progress.watch = progress.watch.after(fit, number, monitored)
        best = progress.watch.is_best(number)
        progress.state = self._state()
        if best:
            progress.best = progress.state
        record = EpochRecord(
            number=number,
            fold=self.settings.fold,
            loss=math.nan if loss is None else loss,
            accuracy=next(
                (v for k, v in values.items() if "acc" in k and "val" not in k and v is not None),
                math.nan,
            ),
            val_loss=val_loss,
            val_accuracy=next(
                (v for k, v in values.items() if "acc" in k and k.startswith("val")), None
            ),
            learning_rate=self._learning_rate(),
            seconds=seconds,
            eta_seconds=0.0 if last else self._left(seconds, fit.epochs - number),
            best=best,
        )
        progress.history.append(record)
        progress.epoch = number
        self.hooks.epoch(record, max(fit.epochs, number))
        if not last:
            self.hooks.checkpoint(progress, epoch_ended=True)
        if progress.watch.should_stop(fit):
            return Ending.EARLY_STOPPING
        return self.interruption()

    def _left(self, seconds: float, epochs: int) -> float:
        return max(0.0, seconds * epochs + self.settings.later.time(seconds))

    def _learning_rate(self) -> float:
        """Read the rate of the optimizer that the script chose; the spec's where it shows none."""
        optimizer = getattr(self.fitted.model, "optimizer", None)
        try:
            return float(np.asarray(optimizer.learning_rate))  # type: ignore[union-attr]  # else below
        except (AttributeError, TypeError, ValueError):
            return self.settings.fit.learning_rate

    def _state(self) -> LoopState:
        """Read the model, and the optimizer that the script compiled it with, in its slots."""
        model = self.fitted.model
        optimizer = getattr(model, "optimizer", None)
        slots = () if optimizer is None else tuple(np.array(v) for v in optimizer.variables)
        return replace(self.fitted.loop.state_of(*self._variables), slots=slots)

    def restore_optimizer(self, progress: FitProgress) -> None:
        """Give the optimizer of a resumed fit its state, if it is of the same kind."""
        model = self.fitted.model
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not progress.epoch:
            return
        optimizer.build(model.trainable_variables)
        stored = progress.state.slots
        if [tuple(v.shape) for v in optimizer.variables] != [a.shape for a in stored]:
            self.hooks.warn("The optimizer is another one than before; its state begins anew.")
            return
        for variable, value in zip(optimizer.variables, stored, strict=True):
            variable.assign(value)

    def interruption(self) -> Ending | None:
        """Say whether the fit must end now."""
        if self.monotonic() >= self.settings.deadline:
            return Ending.TIME_LIMIT
        return self.hooks.interruption()

    def inside(self, ratio: float) -> None:
        """Take the share of the fit that is done."""
        self.hooks.ratio(min(1.0, ratio / max(1, self.settings.fit.epochs)))


@contextmanager
def _as_built(model: Any) -> Iterator[None]:
    """Have the layers frozen again that were frozen before, and no others: weights are kept so."""
    found = model._flatten_layers()  # noqa: SLF001 - Keras has no public way to layers of layers
    layers = [(layer, layer.trainable) for layer in found]
    try:
        yield
    finally:
        # A model comes before its layers, whose flags its own overwrites.
        for layer, trainable in layers:
            layer.trainable = trainable


class _Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports epochs and stops the fit."""

    def __init__(self, owner: OwnFit, progress: FitProgress) -> None:
        super().__init__()
        self._owner = owner
        self._progress = progress
        self._begun = self._told = owner.monotonic()
        self._cut = False
        self.trained = False
        self.given_optimizer: Any = None
        self.ending = Ending.COMPLETED

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras passes it by name
        """Restore the optimizer, once."""
        if not self.trained:
            self._owner.restore_optimizer(self._progress)
        self.trained = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras passes both by name
        """Note when the epoch began."""
        self._begun = self._owner.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - as above
        """Report progress inside a long epoch."""
        now = self._owner.monotonic()
        if now - self._told < _LEAST_RATIO_SECONDS:
            return
        self._told = now
        steps = (self.params or {}).get("steps") or batch + 1
        self._owner.inside(self._progress.epoch + (batch + 1) / steps)
        self._stop(self._owner.interruption())

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - as above
        """Show that a long validation goes on, and end it where the fit must end."""
        now = self._owner.monotonic()
        if now - self._told < _LEAST_RATIO_SECONDS:
            return
        self._told = now
        self._owner.inside(self._progress.epoch + 1)
        self._stop(self._owner.interruption())
        self._cut = self.model.stop_evaluating = self.model.stop_training

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - as above
        """Report the epoch, unless nobody knows how good it is."""
        if self._cut:
            return
        seconds = self._owner.monotonic() - self._begun
        self._told = self._owner.monotonic()
        self._stop(self._owner.took(self._progress, dict(logs or {}), seconds=seconds))
        self._reduce()

    def _reduce(self) -> None:
        """Reduce the rate of the optimizer that the settings gave, after a plateau."""
        fit = self._owner.settings.fit
        optimizer = getattr(self.model, "optimizer", None)
        if fit.schedule.kind is not ScheduleKind.REDUCE_ON_PLATEAU or optimizer is None:
            return
        if optimizer is self.given_optimizer:
            rates = epoch_rates(fit, 0, 1, self._progress.watch.plateau_factor)
            optimizer.learning_rate = float(rates[0])

    def _stop(self, ending: Ending | None) -> None:
        if ending is not None:
            self.ending = ending
            self.model.stop_training = True
