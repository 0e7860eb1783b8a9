"""The fits of a run: how long each trains, and what comes after it."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from linnet_ml.spec import FitSettings, TrainingSpec
from linnet_ml.splits import Fold, Split

from linnet_trainer.fit.epochs import EpochRecord
from linnet_trainer.fit.fitting import FitProgress
from linnet_trainer.fit.pace import LaterFits


class FitPlan:
    """The folds of a split in order, the final fit last.

    Args:
        split: The rows of each.
        spec: What they follow, every default filled in.

    Attributes:
        fits: Rows of each fit.
    """

    def __init__(self, split: Split, spec: TrainingSpec) -> None:
        final = () if split.final is None else (split.final,)
        self.fits: tuple[Fold, ...] = (*split.folds, *final)
        self._folds = len(split.folds)
        self._fit = spec.fit
        self._extra = spec.split.extra_epochs
        self._besides: list[float] = []

    def number(self, index: int) -> int:
        """Give a fold's number, from 1; zero for a plain split and the final fit."""
        return index + 1 if self._folds > 1 and index < self._folds else 0

    def settings(self, index: int, done: Sequence[FitProgress]) -> FitSettings:
        """Give the settings of a fit after those that are done."""
        if index < self._folds:
            return self._fit
        epochs = self._final_epochs(done[: self._folds])
        # Folds may have kept earlier epochs than the warm-up has: it must end within the fit.
        warm = min(self._fit.schedule.warmup_epochs, epochs - 1)
        schedule = replace(self._fit.schedule, warmup_epochs=warm)
        return replace(self._fit, epochs=epochs, early_stopping=None, schedule=schedule)

    def _final_epochs(self, folds: Sequence[FitProgress]) -> int:
        """Give the median of the epochs whose weights the folds kept, and the extra ones."""
        kept = [one.watch.best_epoch if self._fit.keep_best else len(one.history) for one in folds]
        return max(1, round(statistics.median(kept))) + self._extra

    def later(self, index: int, done: Sequence[FitProgress]) -> LaterFits:
        """Say what comes after a fit, as far as the fits before it show."""
        ahead = self.fits[index + 1 :]
        usual = statistics.median(len(one.history) for one in done) if done else self._fit.epochs
        final = self._final_epochs(done) if done else self._fit.epochs + self._extra
        own = self.fits[index].training.size
        epochs = [
            (usual if index + n < self._folds else final) * fold.training.size / own
            for n, fold in enumerate(ahead, 1)
        ]
        # The first fit of a process traces what the later ones share with it.
        besides = self._besides[-1] if len(self._besides) > 1 else 0.0
        return LaterFits(sum(epochs), besides * len(ahead))

    def took(self, seconds: float, epochs: Sequence[EpochRecord]) -> None:
        """Take the time of a fit, from its rows to its scores, and the epochs that it trained."""
        trained = statistics.median(e.seconds for e in epochs) * len(epochs) if epochs else 0.0
        self._besides.append(max(0.0, seconds - trained))

    @property
    def begun(self) -> bool:
        """Whether this attempt has trained a fit to its end."""
        return bool(self._besides)
