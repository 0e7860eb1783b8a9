"""Learning rates of each step; pure, so that a resumed run computes the same."""

import math

import numpy as np
from linnet_ml.spec import FitSettings, ScheduleKind
from numpy.typing import NDArray


def epoch_rates(
    fit: FitSettings, epoch: int, steps: int, plateau_factor: float = 1.0
) -> NDArray[np.float32]:
    """Give the learning rate of every step of an epoch.

    A cosine schedule warms up linearly from zero to the rate over `warmup_epochs`, then follows
    min + (rate - min) (1 + cos(pi t)) / 2 with t from 0 to 1 over the remaining steps.

    Args:
        fit: Resolved settings.
        epoch: The epoch, from 0.
        steps: Steps an epoch.
        plateau_factor: Product of the reductions so far, with reduce on plateau.

    Returns:
        float32, shape (steps,).
    """
    schedule, rate = fit.schedule, fit.learning_rate
    if schedule.kind is ScheduleKind.REDUCE_ON_PLATEAU:
        return np.full(steps, max(rate * plateau_factor, schedule.min_learning_rate), np.float32)
    if schedule.kind is not ScheduleKind.COSINE:
        return np.full(steps, rate, np.float32)
    place = np.arange(epoch * steps, (epoch + 1) * steps, dtype=np.float64)
    warm = schedule.warmup_epochs * steps
    rest = max(fit.epochs * steps - warm - 1, 1)
    low = schedule.min_learning_rate
    falling = low + (rate - low) * (1 + np.cos(math.pi * (place - warm) / rest)) / 2
    rising = rate * (place + 1) / max(warm, 1)
    return np.where(place < warm, rising, falling).astype(np.float32)
