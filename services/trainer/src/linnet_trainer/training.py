"""One run, from rows and spec to a folder of artifacts; knows no gateway and no store."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from linnet_ml.spec import ClassBalance, FitSettings
from linnet_ml.splits import Fold
from linnet_runtime.errors import InvalidInput

from linnet_trainer import initial_weights
from linnet_trainer.artifacts import FoldResult, RunRecord, figures_of, write_artifacts
from linnet_trainer.choosing import Fitted, exported_fit, result_of
from linnet_trainer.fit import engine as engines
from linnet_trainer.fit.checkpoints import RunProgress, from_bytes, to_bytes
from linnet_trainer.fit.engine import Engine
from linnet_trainer.fit.epochs import Ending, EpochRecord, Interrupted
from linnet_trainer.fit.fitting import LEAST_RATIO_SECONDS, FitProgress, FoldFit, FoldSettings
from linnet_trainer.fit.fold_rows import PreparedFold, calibration_rows, prepare_fold
from linnet_trainer.fit.loop import TrainingLoop
from linnet_trainer.fit.steps import LoopSettings
from linnet_trainer.fit_plan import FitPlan
from linnet_trainer.networks import Network
from linnet_trainer.run_contract import Outcome, RunEvents, RunOrder, time_limit_seconds
from linnet_trainer.shared_loops import SharedLoops

CHECKPOINT_SECONDS = 30.0
"""Longest time without a checkpoint inside an epoch."""
EPOCH_CHECKPOINT_SECONDS = 1.0
"""Shortest time between checkpoints at ends of epochs; shorter epochs share one."""


class Trainer:
    """Trains runs one after the other.

    Attributes:
        shared: What they share.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self.shared = SharedLoops()

    def train(self, order: RunOrder, network: Network, events: RunEvents, folder: Path) -> Outcome:
        """Train one run and write its artifacts.

        Args:
            order: What to train.
            network: The network.
            events: Who hears of it.
            folder: An empty folder for the artifacts.

        Returns:
            The outcome; its files are in order, the manifest last.

        Raises:
            InvalidInput: The spec does not fit the data.
            Diverged: No epoch had a finite loss.
        """
        return _Run(self, order, network, events, self._now).go(folder)


class _Run:
    def __init__(
        self,
        trainer: Trainer,
        order: RunOrder,
        network: Network,
        events: RunEvents,
        now: Callable[[], float],
    ) -> None:
        self._trainer = trainer
        self._order = order
        self._network = network
        self._events = events
        self._now = now
        self._spec = order.spec
        self._begun = now()
        self._saved = self._told = now()
        self._warnings: list[str] = []
        self._split = order.data.split(order.spec)
        self._plan = FitPlan(self._split, order.spec)
        self._fits = self._plan.fits
        self._progress = RunProgress(seconds=order.seconds_used)
        self._fit_index = 0

    def go(self, folder: Path) -> Outcome:
        for warning in self._split.warnings:
            self.warn(warning)
        self._resume()
        results: list[FoldResult] = []
        ending = Ending.COMPLETED
        deadline = self._deadline()
        for index in range(len(self._fits)):
            self._fit_index = index
            result, ending = self._fit(index, deadline)
            if ending.is_interruption:
                self._save(force=ending is Ending.TERMINATED)
                return Outcome(ending)
            if result is not None:
                results.append(result)
            if ending is Ending.TIME_LIMIT:
                break
        self._say_ending(ending, len(results))
        return self._export(results, ending, folder)

    def _resume(self) -> None:
        stored = self._order.checkpoint
        if stored is None:
            return
        try:
            self._progress = from_bytes(stored, self._digest())
        except InvalidInput as error:
            self.warn(f"The checkpoint of the attempt before can't be used: {error.message}")
            return
        self._progress.seconds = max(self._progress.seconds, self._order.seconds_used)
        fit = self._progress.fit
        if fit is not None:
            fold = f" of fit {self._progress.fold + 1}" if len(self._fits) > 1 else ""
            position, attempt = self._progress.log_sequence, self._progress.attempt
            lost = f"; what attempt {attempt} told after entry {position} is trained again"
            self._events.line(
                f"Resuming after epoch {fit.epoch}, step {fit.step}{fold}"
                f"{lost if position else ''}."
            )

    def _digest(self) -> str:
        return f"{self._spec!r} {self._order.data.digest}"

    def _deadline(self) -> float:
        return self._begun + time_limit_seconds(self._spec) - self._progress.seconds

    def _seconds(self) -> float:
        return self._progress.seconds + self._now() - self._begun

    def _fit(self, index: int, deadline: float) -> tuple[FoldResult | None, Ending]:
        begun, done = self._now(), self._progress.done
        prepared = prepare_fold(self._order.data, self._fits[index], self._spec)
        fitted = Fitted(self._fits[index], prepared, *self._model(prepared))
        settings = FoldSettings(
            self._plan.settings(index, done),
            self._plan.number(index),
            deadline,
            later=self._plan.later(index, done),
            foresees=not self._plan.begun,
        )
        if index < len(done):
            return self._result(fitted, done[index], done[index].ending(settings.fit))
        resumed = self._progress.fit if self._progress.fold == index else None
        progress = resumed or FitProgress(fitted.loop.fresh_state(fitted.model))
        before = len(progress.history)
        self._progress.fold, self._progress.fit = index, progress
        self._introduce(fitted.fold, settings.fit, prepared)
        ending = self._train(fitted, settings, progress)
        if ending.is_interruption:
            return None, ending
        self._progress.fit = None
        done.append(progress)
        found = self._result(fitted, progress, ending)
        self._plan.took(self._now() - begun, progress.history[before:])
        return found

    def _result(
        self, fitted: Fitted, progress: FitProgress, ending: Ending
    ) -> tuple[FoldResult | None, Ending]:
        look = self._look if len(self._split.folds) > 1 else None
        try:
            return result_of(fitted, progress, ending, self._spec.fit, look=look), ending
        except Interrupted as stop:
            return None, stop.ending

    def _look(self, _share: float) -> None:
        """Show that a fold's rows are still being scored; end that when the run must end."""
        ending = self.interruption()
        if ending is not None:
            raise Interrupted(ending)
        if self._now() - self._told >= LEAST_RATIO_SECONDS:
            self.ratio(1.0)

    def _train(self, fitted: Fitted, settings: FoldSettings, progress: FitProgress) -> Ending:
        if self._network.own_fit is not None:
            from linnet_trainer.scripts.own_fit import OwnFit

            fit = OwnFit(
                self._network.own_fit, fitted, settings, self, self._now, self._network.resumes
            )
            return fit.run(progress)
        data = fitted.prepared.data
        return FoldFit(fitted.loop, data, settings, self, self._now).run(progress)

    def _model(self, prepared: PreparedFold) -> tuple[Any, TrainingLoop]:
        self._seed()
        fit = self._spec.fit
        model = self._network.build()
        for note in self._network.notes():
            self.warn(note)
        if self._order.initial_model is not None:
            initial_weights.take(model, self._order.initial_model)
        engine = self._engine(prepared)
        settings = LoopSettings(
            fit,
            self._spec.augmentation,
            weighted=fit.class_balance is ClassBalance.WEIGHTS,
            xla=engine.xla,
            sequential=engine.sequential,
        )
        loop = self._trainer.shared.loop(self._network, model, settings)
        if self._network.layers is None:
            loop.kernels_were_dropped()
        return model, loop

    def _seed(self) -> None:
        import keras

        seed = self._spec.fit.seed % 2**32
        if self._network.layers is None:
            keras.utils.set_random_seed(seed)
        else:
            # All that layers draw from. The call above would have TensorFlow drop its kernels,
            # which are made anew at the next call, as long as a short fit.
            random.seed(seed)

    def _engine(self, prepared: PreparedFold) -> Engine:
        fit = self._spec.fit
        steps = -(-len(prepared.data.index) // fit.batch_size)
        return engines.choose(self._network.layers, fit.optimizer, steps * fit.epochs)

    def _introduce(self, fold: Fold, fit: FitSettings, prepared: PreparedFold) -> None:
        name = f"{fold.name}: " if fold.name else ""
        copies = len(prepared.data.index) - fold.training.size
        more = f" and {copies} copies of rows of rare classes" if copies else ""
        self._events.line(
            f"{name}training on {fold.training.size} rows{more}, validating on "
            f"{fold.validation.size}, for {fit.epochs} epochs."
        )

    def _say_ending(self, ending: Ending, done: int) -> None:
        if ending is Ending.TIME_LIMIT:
            left = len(self._fits) - done
            rest = f" {left} of {len(self._fits)} fits were left out." if left else ""
            self.warn(
                "The time limit was reached before the last epoch; the best model so far is "
                f"exported.{rest}"
            )
        elif ending is Ending.DIVERGED:
            self.warn(
                "The loss became infinite or not a number; the best epoch before that is exported."
            )
        elif ending is Ending.EARLY_STOPPING:
            self._events.line("Stopped early: the loss no longer improved.")

    def _export(self, results: list[FoldResult], ending: Ending, folder: Path) -> Outcome:
        train_seconds = self._seconds()
        chosen = exported_fit(results, self._split)
        result = results[chosen]
        self._events.used(train_seconds)
        self._events.exporting()
        self._events.line(f"Exporting the weights of epoch {result.best_epoch}.")
        result.loop.put_weights(result.state, result.model)
        rows = calibration_rows(
            result.prepared.training, self._spec.export.calibration_rows, self._spec.fit.seed
        )
        exported = self._network.export(result.model, rows, self._spec.export, folder)
        for problem in exported.problems:
            self.warn(problem)
        record = RunRecord(
            name=self._order.name,
            attempt=self._order.attempt,
            spec=self._spec,
            layers=self._network.layers,
            data=self._order.data,
            split=self._split,
            results=tuple(results),
            exported=chosen,
            ending=ending,
            engine=self._engine(result.prepared),
            train_seconds=train_seconds,
            warnings=tuple(self._warnings),
            model_input_shape=exported.input_shape,
            initial_model=self._order.initial_model,
        )
        return Outcome(ending, figures_of(record), write_artifacts(record, folder))

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """Take the figures of an epoch that has ended."""
        self._told = self._now()
        ratio = (self._fit_index + record.number / epochs) / len(self._fits)
        self._events.used(self._seconds())
        self._events.epoch(record, record.line(epochs), ratio)

    def ratio(self, fit_ratio: float) -> None:
        """Take the share of this fit that is done."""
        self._told = self._now()
        self._events.used(self._seconds())
        self._events.ratio((self._fit_index + fit_ratio) / len(self._fits))

    def interruption(self) -> Ending | None:
        """Say whether the fit must end now, and why."""
        return self._events.interruption()

    def warn(self, text: str) -> None:
        """Take something that a person should know; once, however many fits say it."""
        if text in self._warnings:
            return
        self._warnings.append(text)
        self._events.line(text, warning=True)

    def checkpoint(self, _progress: FitProgress, *, epoch_ended: bool) -> None:
        """Store the progress if it is time to."""
        least = EPOCH_CHECKPOINT_SECONDS if epoch_ended else CHECKPOINT_SECONDS
        if self._now() - self._saved >= least:
            self._save()

    def _save(self, *, force: bool = True) -> None:
        if not force:
            return
        snapshot = replace(self._progress, seconds=self._seconds())

        def stored(log_sequence: int) -> bytes:
            placed = replace(snapshot, attempt=self._order.attempt, log_sequence=log_sequence)
            return to_bytes(placed, self._digest())

        self._events.checkpoint(stored)
        self._saved = self._now()
