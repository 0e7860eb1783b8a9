"""One run, from rows and spec to a folder of artifacts; knows no gateway and no store."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linnet_ml.spec import ClassBalance

from linnet_trainer import initial_weights
from linnet_trainer.artifacts import FoldResult, RunRecord, figures_of, write_artifacts
from linnet_trainer.choosing import Fitted, exported_fit, result_of
from linnet_trainer.fit import engine as engines
from linnet_trainer.fit.engine import Engine
from linnet_trainer.fit.epochs import Ending, Interrupted
from linnet_trainer.fit.fitting import FitProgress, FoldFit, FoldSettings
from linnet_trainer.fit.fold_rows import prepare_fold
from linnet_trainer.fit.loop import TrainingLoop
from linnet_trainer.fit.steps import LoopSettings
from linnet_trainer.fit_plan import FitPlan
from linnet_trainer.networks import Network
from linnet_trainer.run_contract import Outcome, RunEvents, RunOrder
from linnet_trainer.run_course import RunCourse
from linnet_trainer.shared_loops import SharedLoops


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
        begun = now()
        self._trainer = trainer
        self._order = order
        self._network = network
        self._events = events
        self._now = now
        self._spec = order.spec
        self._split = order.data.split(order.spec)
        self._plan = FitPlan(self._split, order.spec)
        self._fits = self._plan.fits
        self._course = RunCourse(order, events, len(self._fits), now, begun=begun)

    def go(self, folder: Path) -> Outcome:
        for warning in self._split.warnings:
            self._course.warn(warning)
        self._course.resume()
        results: list[FoldResult] = []
        ending = Ending.COMPLETED
        deadline = self._course.deadline()
        for index in range(len(self._fits)):
            self._course.fit_index = index
            result, ending = self._fit(index, deadline)
            if ending.is_interruption:
                if ending is Ending.TERMINATED:
                    self._course.save()
                return Outcome(ending)
            if result is not None:
                results.append(result)
            if ending is Ending.TIME_LIMIT:
                break
        self._course.say_ending(ending, len(results))
        return self._export(results, ending, folder)

    def _fit(self, index: int, deadline: float) -> tuple[FoldResult | None, Ending]:
        begun, run = self._now(), self._course.progress
        done = run.done
        prepared = prepare_fold(self._order.data, self._fits[index], self._spec)
        fitted = Fitted(self._fits[index], prepared, *self._model())
        settings = FoldSettings(
            self._plan.settings(index, done),
            self._plan.number(index),
            deadline,
            later=self._plan.later(index, done),
            foresees=not self._plan.begun,
        )
        if index < len(done):
            return self._result(fitted, done[index], done[index].ending(settings.fit))
        resumed = run.fit if run.fold == index else None
        progress = resumed or FitProgress(fitted.loop.fresh_state(fitted.model))
        before = len(progress.history)
        run.fold, run.fit = index, progress
        copies = len(prepared.data.index) - fitted.fold.training.size
        self._course.introduce(fitted.fold, settings.fit, copies)
        ending = self._train(fitted, settings, progress)
        if ending.is_interruption:
            return None, ending
        run.fit = None
        done.append(progress)
        found = self._result(fitted, progress, ending)
        self._plan.took(self._now() - begun, progress.history[before:])
        return found

    def _result(
        self, fitted: Fitted, progress: FitProgress, ending: Ending
    ) -> tuple[FoldResult | None, Ending]:
        look = self._course.look if len(self._split.folds) > 1 else None
        try:
            return result_of(fitted, progress, ending, self._spec, look=look), ending
        except Interrupted as stop:
            return None, stop.ending

    def _train(self, fitted: Fitted, settings: FoldSettings, progress: FitProgress) -> Ending:
        network = self._network
        if network.own_fit is not None:
            from linnet_trainer.scripts.own_fit import OwnFit

            fit = OwnFit(
                network.own_fit, fitted, settings, self._course, self._now, network.resumes
            )
            return fit.run(progress)
        data = fitted.prepared.data
        return FoldFit(fitted.loop, data, settings, self._course, self._now).run(progress)

    def _model(self) -> tuple[Any, TrainingLoop]:
        self._seed()
        fit = self._spec.fit
        model = self._network.build()
        for note in self._network.notes():
            self._course.warn(note)
        if self._order.initial_model is not None:
            initial_weights.take(model, self._order.initial_model)
        settings = LoopSettings(
            fit,
            self._spec.augmentation,
            weighted=fit.class_balance is ClassBalance.WEIGHTS,
            sequential=self._engine().sequential,
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

    def _engine(self) -> Engine:
        return engines.choose(self._network.layers, self._spec.fit.optimizer)

    def _export(self, results: list[FoldResult], ending: Ending, folder: Path) -> Outcome:
        train_seconds = self._course.seconds()
        chosen = exported_fit(results, self._split)
        result = results[chosen]
        self._events.used(train_seconds)
        self._events.exporting()
        self._events.line(f"Exporting the weights of epoch {result.best_epoch}.")
        result.loop.put_weights(result.state, result.model)
        exported = self._network.export(result.model, result.calibration, self._spec.export, folder)
        for problem in exported.problems:
            self._course.warn(problem)
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
            engine=self._engine(),
            train_seconds=train_seconds,
            warnings=tuple(self._course.warnings),
            model_input_shape=exported.input_shape,
            initial_model=self._order.initial_model,
        )
        return Outcome(ending, figures_of(record), write_artifacts(record, folder))
