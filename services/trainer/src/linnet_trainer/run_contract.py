"""What a run is asked for, what it tells while it goes on, and how it ends; no TensorFlow."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linnet_ml.spec import TrainingSpec
from linnet_runtime.errors import LinnetError

from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.run_data import RunData

DEADLINE_SHARE = 0.9
"""Share of the run's deadline that training may use; the rest is for export and upload."""


class Diverged(LinnetError):
    """The loss became infinite or not a number before any epoch could be kept."""

    default_reason = "DIVERGED"


class RunEvents(Protocol):
    """What a run tells while it goes on, and what it asks."""

    def line(self, text: str, *, warning: bool = False) -> None:
        """Take a line for a person."""
        ...

    def epoch(self, record: EpochRecord, line: str, ratio: float) -> None:
        """Take an epoch and the share of the whole training that is done."""
        ...

    def ratio(self, ratio: float) -> None:
        """Take the share of the whole training that is done."""
        ...

    def exporting(self) -> None:
        """Take that fitting is over."""
        ...

    def interruption(self) -> Ending | None:
        """Say whether the run must end now, and why."""
        ...

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        """Store a checkpoint; the function makes its bytes, given the last log entry."""
        ...

    def used(self, seconds: float) -> None:
        """Take the training time used so far, earlier attempts included."""
        ...


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What to train.

    Attributes:
        name: The run's name, for the manifest.
        attempt: From 1.
        spec: Every default filled in.
        data: The dataset.
        seconds_used: Training time of earlier attempts.
        checkpoint: Checkpoint of an earlier attempt; None to begin anew.
        initial_model: A model.keras to take the weights of; None for fresh ones.
    """

    name: str
    attempt: int
    spec: TrainingSpec
    data: RunData
    seconds_used: float = 0.0
    checkpoint: bytes | None = None
    initial_model: Path | None = None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What is known of a run that made a model.

    Attributes:
        parameter_count: Parameters of the network.
        train_seconds: Time of fitting, earlier attempts included.
        best_epoch: The epoch whose weights were kept, from 1.
        epochs: Epochs trained, all fits together.
        val_accuracy: Validation accuracy of the best epoch; None without a validation set.
        weights_sha256: Digest of the weights that were kept.
        warnings: What a person should know.
    """

    parameter_count: int
    train_seconds: float
    best_epoch: int
    epochs: int
    val_accuracy: float | None
    weights_sha256: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; without figures and files when it was interrupted."""

    ending: Ending
    figures: RunFigures | None = None
    files: tuple[str, ...] = ()


def time_limit_seconds(spec: TrainingSpec) -> float:
    """Give the time that all attempts of a run may train together; infinite without a limit."""
    limits = [math.inf]
    if spec.fit.time_limit is not None:
        limits.append(spec.fit.time_limit.total_seconds())
    if spec.resources.deadline:
        limits.append(spec.resources.deadline.total_seconds() * DEADLINE_SHARE)
    return min(limits)
