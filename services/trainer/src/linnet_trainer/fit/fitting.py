"""Fits one fold: epochs in chunks, validation, best weights, limits; knows no files and no wire."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from linnet_ml.spec import FitSettings
from numpy.typing import NDArray

from linnet_trainer.fit.epochs import Ending, EpochRecord, Interrupted
from linnet_trainer.fit.loop import TrainingLoop
from linnet_trainer.fit.loop_state import EpochPlan, LoopState, Rows
from linnet_trainer.fit.pace import NOTHING_LATER, LaterFits, Pace
from linnet_trainer.fit.rates import epoch_rates
from linnet_trainer.fit.watching import Watch

LEAST_RATIO_SECONDS = 0.7
"""Shortest time between two reports of progress; with a chunk's time still below 2 s."""

_TRAINING_COST = 3
"""Time of a training row as a multiple of a validation row's: its gradients are computed too."""


class FitHooks(Protocol):
    """What a fit tells and asks while it runs."""

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """Take the figures of an epoch that has ended."""
        ...

    def ratio(self, fit_ratio: float) -> None:
        """Take the share of this fit that is done, in [0, 1]."""
        ...

    def interruption(self) -> Ending | None:
        """Say whether the fit must end now, and why."""
        ...

    def warn(self, text: str) -> None:
        """Take something that a person should know."""
        ...

    def checkpoint(self, progress: "FitProgress", *, epoch_ended: bool) -> None:
        """Store the progress if it is time to."""
        ...


@dataclass(frozen=True, slots=True)
class FoldData:
    """Rows of one fit.

    Attributes:
        training: Training rows; weights hold the class weights.
        validation: Validation rows; None without any.
        index: Row of `training` for each place of an epoch; copies of rare classes included.
    """

    training: Rows
    validation: Rows | None
    index: NDArray[np.int32]


@dataclass(slots=True)
class FitProgress:
    """Where a fit stands; holds everything that a resumed fit needs for the same bits.

    Attributes:
        state: Weights, optimizer and dropout seeds.
        best: Weights of the best epoch so far; None before the first.
        epoch: Epochs done.
        step: Steps done of the next epoch.
        watch: Best loss, patience and plateau.
        history: Epochs of this fit so far.
        epoch_seconds: Time spent on the epoch under way.
    """

    state: LoopState
    best: LoopState | None = None
    epoch: int = 0
    step: int = 0
    watch: Watch = field(default_factory=Watch)
    history: list[EpochRecord] = field(default_factory=list)
    epoch_seconds: float = 0.0

    def ending(self, fit: FitSettings) -> Ending:
        """Say how a fit ended that has its last epoch behind it."""
        last = self.history[-1] if self.history else None
        if last is not None and not math.isfinite(last.monitored):
            return Ending.DIVERGED
        return Ending.EARLY_STOPPING if self.watch.should_stop(fit) else Ending.COMPLETED


@dataclass(frozen=True, slots=True)
class FoldSettings:
    """What a fit follows.

    Attributes:
        fit: Resolved settings; `epochs` is this fit's own number.
        fold: Number of the fold, from 1; zero for a plain split and the final fit.
        deadline: Moment, on the clock given, at which the time limit is over; infinite for none.
        later: The fits after this one.
        foresees: Whether to warn of a limit that will come too early.
    """

    fit: FitSettings
    fold: int
    deadline: float = math.inf
    later: LaterFits = NOTHING_LATER
    foresees: bool = True


class FoldFit:
    """One fit over one fold."""

    def __init__(
        self,
        loop: TrainingLoop,
        data: FoldData,
        settings: FoldSettings,
        hooks: FitHooks,
        monotonic: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._data = data
        self._settings = settings
        self._fit = settings.fit
        self._hooks = hooks
        self._now = monotonic
        self._told = self._ended = monotonic()
        self._steps = -(-len(data.index) // self._fit.batch_size)
        self._pace = Pace(self._steps)
        held = data.validation.count if data.validation is not None else 0
        self._validation_share = held / (held + _TRAINING_COST * len(data.index))
        self._foresees = settings.foresees

    def run(self, progress: FitProgress) -> Ending:
        """Train from where `progress` stands until an end is reached; changes `progress`."""
        # What was killed in its export stands behind its last epoch already.
        while progress.epoch < self._fit.epochs and not progress.watch.should_stop(self._fit):
            ending = self._epoch(progress)
            if ending is not None:
                return ending
            self._hooks.checkpoint(progress, epoch_ended=True)
        return progress.ending(self._fit)

    def _epoch(self, progress: FitProgress) -> Ending | None:
        number = progress.epoch
        seed = self._fit.seed
        shuffle = np.random.Generator(np.random.PCG64([seed, self._settings.fold, number]))
        plan = EpochPlan(
            self._data.index[shuffle.permutation(len(self._data.index))],
            epoch_rates(self._fit, number, self._steps, progress.watch.plateau_factor),
            (seed % 2**31, (self._settings.fold << 20) + number),
        )
        whole, firsts = progress.step == 0, self._loop.firsts
        if whole:
            progress.state = replace(progress.state, loss_sum=0.0, correct=0.0)
        while progress.step < self._steps:
            stop = min(self._steps, progress.step + self._pace.chunk)
            progress.state, seconds = self._timed_steps(progress, plan, progress.step, stop)
            progress.epoch_seconds += seconds
            progress.step = stop
            ending = self._between_chunks(progress)
            if ending is not None:
                return ending
        return self._end_epoch(progress, plan, usual=whole and firsts == self._loop.firsts)

    def _timed_steps(
        self, progress: FitProgress, plan: EpochPlan, start: int, stop: int
    ) -> tuple[LoopState, float]:
        begun, firsts = self._now(), self._loop.firsts
        state = self._loop.run(progress.state, self._data.training, plan, start, stop)
        seconds = self._now() - begun
        if firsts == self._loop.firsts:
            self._pace.took_steps(stop - start, seconds)
        return state, seconds

    def _between_chunks(self, progress: FitProgress) -> Ending | None:
        ending = self._interruption()
        if ending is None and progress.step < self._steps:
            self._tell(progress)
            self._hooks.checkpoint(progress, epoch_ended=False)
        return ending

    def _interruption(self) -> Ending | None:
        ending = self._hooks.interruption()
        if ending is None and self._now() >= self._settings.deadline:
            return Ending.TIME_LIMIT
        return ending

    def _tell(self, progress: FitProgress, validated: float = 0.0) -> None:
        if self._now() - self._told >= LEAST_RATIO_SECONDS:
            trained = progress.step / self._steps
            done = trained * (1 - self._validation_share) + validated * self._validation_share
            self._hooks.ratio((progress.epoch + done) / self._fit.epochs)
            self._told = self._now()

    def _end_epoch(self, progress: FitProgress, plan: EpochPlan, *, usual: bool) -> Ending | None:
        begun, firsts = self._now(), self._loop.firsts
        rows = len(self._data.index)
        loss, accuracy = progress.state.loss_sum / rows, progress.state.correct / rows
        val_loss = val_accuracy = None
        if self._data.validation is not None:
            try:
                val_loss, val_accuracy = self._validate(progress, self._data.validation)
            except Interrupted as stop:
                return stop.ending
        monitored = loss if val_loss is None else val_loss
        number = progress.epoch + 1
        progress.watch = progress.watch.after(self._fit, number, monitored)
        best = progress.watch.is_best(number)
        if best:
            progress.best = progress.state
        validation_seconds = self._now() - begun
        seconds = progress.epoch_seconds + validation_seconds
        usual = usual and firsts == self._loop.firsts
        epoch_seconds = self._epoch_seconds(progress, plan, seconds, usual=usual)
        eta = epoch_seconds * (self._fit.epochs - number) + self._settings.later.time(epoch_seconds)
        record = EpochRecord(
            number, self._settings.fold, loss, accuracy, val_loss, val_accuracy,
            float(plan.rates[-1]), seconds, eta, best,
        )  # fmt: skip
        progress.history.append(record)
        progress.epoch, progress.step, progress.epoch_seconds = number, 0, 0.0
        self._hooks.epoch(record, self._fit.epochs)
        self._told = self._now()
        if self._foresees and self._pace.settled:
            self._foresee(eta)
        return None if math.isfinite(record.monitored) else Ending.DIVERGED

    def _validate(self, progress: FitProgress, rows: Rows) -> tuple[float, float]:
        def look(share: float) -> None:
            self._tell(progress, share)
            ending = self._interruption()
            if ending is not None:
                raise Interrupted(ending)

        begun, firsts = self._now(), self._loop.firsts
        found = self._loop.score(progress.state, rows, look)
        if firsts == self._loop.firsts:
            self._pace.took_validation(self._now() - begun)
        return found

    def _epoch_seconds(
        self, progress: FitProgress, plan: EpochPlan, seconds: float, *, usual: bool
    ) -> float:
        """Give what an epoch to come takes; `usual` says that this one traced nothing."""
        wall = self._now() - self._ended
        if usual:
            self._pace.took_epoch(wall)
        elif progress.epoch + 1 < self._fit.epochs or self._settings.later != NOTHING_LATER:
            self._time_again(progress, plan)
        self._ended = self._now()
        return self._pace.epoch_seconds(max(0.0, wall - seconds))

    def _time_again(self, progress: FitProgress, plan: EpochPlan) -> None:
        """Time what has hardly been done but to trace it; what comes out is dropped."""
        if self._pace.steps_to_time:
            self._timed_steps(progress, plan, 0, self._pace.steps_to_time)
        rows = self._data.validation
        if rows is not None and not self._pace.knows_validation:
            part, begun = self._loop.first_part(rows), self._now()
            self._loop.score(progress.state, part)
            self._pace.took_validation((self._now() - begun) * rows.count / part.count)

    def _foresee(self, eta: float) -> None:
        self._foresees = False
        left = self._settings.deadline - self._now()
        if eta > left:
            self._hooks.warn(
                f"Training will take about {eta:.0f} s more but its limit leaves {left:.0f} s; "
                "the best model so far will be exported when the time is over."
            )
