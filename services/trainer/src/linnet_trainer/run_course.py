"""The course of a run: what it tells of itself while it goes on, and keeps to be resumed."""

from collections.abc import Callable
from dataclasses import replace

from linnet_ml.spec import FitSettings
from linnet_ml.splits import Fold
from linnet_runtime.errors import InvalidInput

from linnet_trainer.fit.checkpoints import RunProgress, from_bytes, to_bytes
from linnet_trainer.fit.epochs import Ending, EpochRecord, Interrupted
from linnet_trainer.fit.fitting import LEAST_RATIO_SECONDS, FitProgress
from linnet_trainer.run_contract import RunEvents, RunOrder, time_limit_seconds

CHECKPOINT_SECONDS = 30.0
"""Longest time without a checkpoint inside an epoch."""
EPOCH_CHECKPOINT_SECONDS = 1.0
"""Shortest time between checkpoints at ends of epochs; shorter epochs share one."""


class RunCourse:
    """The hooks of a run's fits: the share of a fit becomes that of the run.

    Args:
        order: What is trained.
        events: Who hears of it.
        fit_count: Fits of the run.
        now: A clock that only goes forward, in seconds.
        begun: When the attempt began, on that clock.

    Attributes:
        progress: Where the run stands.
        fit_index: The fit under way, from 0.
        warnings: What a person should know, each once.
    """

    def __init__(
        self,
        order: RunOrder,
        events: RunEvents,
        fit_count: int,
        now: Callable[[], float],
        *,
        begun: float,
    ) -> None:
        self._order = order
        self._events = events
        self._fit_count = fit_count
        self._now = now
        self._begun = self._saved = self._told = begun
        self.progress = RunProgress(seconds=order.seconds_used)
        self.fit_index = 0
        self.warnings: list[str] = []

    def resume(self) -> None:
        """Take up what the checkpoint of an earlier attempt holds, if there is one."""
        stored = self._order.checkpoint
        if stored is None:
            return
        try:
            self.progress = from_bytes(stored, self._digest())
        except InvalidInput as error:
            self.warn(f"The checkpoint of the attempt before can't be used: {error.message}")
            return
        self.progress.seconds = max(self.progress.seconds, self._order.seconds_used)
        fit = self.progress.fit
        if fit is not None:
            fold = f" of fit {self.progress.fold + 1}" if self._fit_count > 1 else ""
            position, attempt = self.progress.log_sequence, self.progress.attempt
            lost = f"; what attempt {attempt} told after entry {position} is trained again"
            self._events.line(
                f"Resuming after epoch {fit.epoch}, step {fit.step}{fold}"
                f"{lost if position else ''}."
            )

    def _digest(self) -> str:
        return f"{self._order.spec!r} {self._order.data.digest}"

    def deadline(self) -> float:
        """Give the moment at which the time limit is over; infinite without one."""
        return self._begun + time_limit_seconds(self._order.spec) - self.progress.seconds

    def seconds(self) -> float:
        """Give the training time of all attempts so far."""
        return self.progress.seconds + self._now() - self._begun

    def introduce(self, fold: Fold, fit: FitSettings, copies: int) -> None:
        """Say what a fit trains on; `copies` are the rows that balancing added."""
        name = f"{fold.name}: " if fold.name else ""
        more = f" and {copies} copies of rows of rare classes" if copies else ""
        self._events.line(
            f"{name}training on {fold.training.size} rows{more}, validating on "
            f"{fold.validation.size}, for {fit.epochs} epochs."
        )

    def say_ending(self, ending: Ending, done: int) -> None:
        """Say why fitting ended, after that many fits, where it is not the last epoch."""
        if ending is Ending.TIME_LIMIT:
            left = self._fit_count - done
            rest = f" {left} of {self._fit_count} fits were left out." if left else ""
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

    def look(self, _share: float) -> None:
        """Show that a fold's rows are still being scored; end that when the run must end."""
        ending = self.interruption()
        if ending is not None:
            raise Interrupted(ending)
        if self._now() - self._told >= LEAST_RATIO_SECONDS:
            self.ratio(1.0)

    def epoch(self, record: EpochRecord, epochs: int) -> None:
        """Take the figures of an epoch that has ended."""
        self._told = self._now()
        ratio = (self.fit_index + record.number / epochs) / self._fit_count
        self._events.used(self.seconds())
        self._events.epoch(record, record.line(epochs), ratio)

    def ratio(self, fit_ratio: float) -> None:
        """Take the share of this fit that is done."""
        self._told = self._now()
        self._events.used(self.seconds())
        self._events.ratio((self.fit_index + fit_ratio) / self._fit_count)

    def interruption(self) -> Ending | None:
        """Say whether the fit must end now, and why."""
        return self._events.interruption()

    def warn(self, text: str) -> None:
        """Take something that a person should know; once, however many fits say it."""
        if text in self.warnings:
            return
        self.warnings.append(text)
        self._events.line(text, warning=True)

    def checkpoint(self, _progress: FitProgress, *, epoch_ended: bool) -> None:
        """Store the progress if it is time to."""
        least = EPOCH_CHECKPOINT_SECONDS if epoch_ended else CHECKPOINT_SECONDS
        if self._now() - self._saved >= least:
            self.save()

    def save(self) -> None:
        """Store the progress now."""
        snapshot = replace(self.progress, seconds=self.seconds())

        def stored(log_sequence: int) -> bytes:
            placed = replace(snapshot, attempt=self._order.attempt, log_sequence=log_sequence)
            return to_bytes(placed, self._digest())

        self._events.checkpoint(stored)
        self._saved = self._now()
