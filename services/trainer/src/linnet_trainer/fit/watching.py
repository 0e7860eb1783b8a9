"""Watches the monitored loss: best epoch, early stopping, reduction on a plateau; pure."""

import math
from dataclasses import dataclass, replace

from linnet_ml.spec import FitSettings, ScheduleKind

PLATEAU_MIN_DELTA = 1e-4
"""Improvement that ends a plateau, Keras' default."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What earlier epochs showed; a part of every checkpoint.

    Attributes:
        best_loss: Lowest monitored loss; infinite before the first epoch.
        best_epoch: Its epoch, from 1; 0 before the first epoch.
        stopping_loss: Lowest loss that early stopping counts as an improvement.
        stopping_wait: Epochs since then.
        plateau_loss: The same for the reduction on a plateau.
        plateau_wait: Epochs since then or since the last reduction.
        plateau_factor: Product of the reductions so far.
    """

    best_loss: float = math.inf
    best_epoch: int = 0
    stopping_loss: float = math.inf
    stopping_wait: int = 0
    plateau_loss: float = math.inf
    plateau_wait: int = 0
    plateau_factor: float = 1.0

    def after(self, fit: FitSettings, epoch: int, loss: float) -> "Watch":
        """Give the watch after an epoch.

        Args:
            fit: Resolved settings.
            epoch: The epoch, from 1.
            loss: Validation loss, training loss where there is no validation set.
        """
        new = self
        if loss < self.best_loss:
            new = replace(new, best_loss=loss, best_epoch=epoch)
        stopping = fit.early_stopping
        if stopping is not None:
            if loss < self.stopping_loss - stopping.min_delta:
                new = replace(new, stopping_loss=loss, stopping_wait=0)
            else:
                new = replace(new, stopping_wait=self.stopping_wait + 1)
        if fit.schedule.kind is ScheduleKind.REDUCE_ON_PLATEAU:
            new = _after_plateau(new, fit, loss)
        return new

    def is_best(self, epoch: int) -> bool:
        """Say whether that epoch is the best so far."""
        return self.best_epoch == epoch

    def should_stop(self, fit: FitSettings) -> bool:
        """Say whether early stopping ends the training now."""
        stopping = fit.early_stopping
        # A patience of 0 is one of 1, as in Keras: an epoch that improves ends no training.
        return stopping is not None and self.stopping_wait >= max(1, stopping.patience_epochs or 0)


def _after_plateau(watch: Watch, fit: FitSettings, loss: float) -> Watch:
    if loss < watch.plateau_loss - PLATEAU_MIN_DELTA:
        return replace(watch, plateau_loss=loss, plateau_wait=0)
    schedule = fit.schedule
    assert schedule.patience_epochs is not None
    assert schedule.factor is not None
    if watch.plateau_wait + 1 < schedule.patience_epochs:
        return replace(watch, plateau_wait=watch.plateau_wait + 1)
    factor = watch.plateau_factor * schedule.factor
    return replace(watch, plateau_wait=0, plateau_factor=factor)
