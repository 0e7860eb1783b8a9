"""Trains by a script's own `fit`, with callbacks that report, keep the best and end in time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from linnet_ml.spec import ClassBalance

from linnet_trainer.epochs import Ending, EpochRecord
from linnet_trainer.fitting import FitHooks, FitProgress, FoldSettings
from linnet_trainer.fold_rows import PreparedFold, class_weights
from linnet_trainer.loop import TrainingLoop
from linnet_trainer.script_source import users_lines

_LEAST_RATIO_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OwnFit:
    """One fit by a script's own function.

    Attributes:
        function: The script's `fit`.
        model: What it trains.
        loop: Reads and scores the model; it takes no step.
        settings: What the fit follows.
        hooks: Who hears of it.
        monotonic: Gives the time, in seconds.
    """

    function: Callable[..., Any]
    model: Any
    loop: TrainingLoop
    settings: FoldSettings
    hooks: FitHooks
    monotonic: Callable[[], float]

    def run(self, progress: FitProgress, prepared: PreparedFold) -> Ending:
        """Call the function; changes `progress`.

        Raises:
            ScriptFailed: It raised.
        """
        watcher = _Watcher(self, progress)
        fit = self.settings.fit
        data = prepared.data
        index = data.index
        labels = np.asarray(data.training.labels)
        balance = fit.class_balance is ClassBalance.WEIGHTS
        weights = class_weights(labels, self.model.output_shape[-1]) if balance else None
        validation = data.validation
        with users_lines():
            self.function(
                self.model,
                prepared.training[index],
                labels[index],
                None if validation is None else np.asarray(validation.features),
                None if validation is None else np.asarray(validation.labels),
                SimpleNamespace(
                    epochs=fit.epochs,
                    learning_rate=fit.learning_rate,
                    batch_size=fit.batch_size,
                    seed=fit.seed,
                    class_weight=None
                    if weights is None
                    else {n: float(w) for n, w in enumerate(weights)},
                    callbacks=[watcher],
                ),
            )
        progress.state = self.loop.fresh_state(self.model)
        if not progress.history:
            self._judge(progress, prepared)
        return watcher.ending

    def _judge(self, progress: FitProgress, prepared: PreparedFold) -> None:
        """Score the final weights of a fit that used no callbacks."""
        rows = prepared.data.validation or prepared.data.training
        loss, accuracy = self.loop.score(progress.state, rows, 1024)
        train_loss, train_accuracy = loss, accuracy
        validated = prepared.data.validation is not None
        if validated:
            train_loss, train_accuracy = self.loop.score(
                progress.state, prepared.data.training, 1024
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
        progress.state = self.loop.fresh_state(self.model)
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
            learning_rate=fit.learning_rate,
            seconds=seconds,
            eta_seconds=0.0 if last else max(0.0, seconds * (fit.epochs - number)),
            best=best,
        )
        progress.history.append(record)
        progress.epoch = number
        self.hooks.epoch(record, max(fit.epochs, number))
        if progress.watch.should_stop(fit):
            return Ending.EARLY_STOPPING
        return self.interruption()

    def interruption(self) -> Ending | None:
        """Say whether the fit must end now."""
        if self.monotonic() >= self.settings.deadline:
            return Ending.TIME_LIMIT
        return self.hooks.interruption()

    def inside(self, ratio: float) -> None:
        """Take the share of the fit that is done."""
        self.hooks.ratio(min(1.0, ratio / max(1, self.settings.fit.epochs)))


class _Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports epochs and stops the fit."""

    def __init__(self, owner: OwnFit, progress: FitProgress) -> None:
        super().__init__()
        self._owner = owner
        self._progress = progress
        self._begun = self._told = owner.monotonic()
        self.ending = Ending.COMPLETED

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

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - as above
        """Report the epoch."""
        seconds = self._owner.monotonic() - self._begun
        self._told = self._owner.monotonic()
        self._stop(self._owner.took(self._progress, dict(logs or {}), seconds=seconds))

    def _stop(self, ending: Ending | None) -> None:
        if ending is not None:
            self.ending = ending
            self.model.stop_training = True
