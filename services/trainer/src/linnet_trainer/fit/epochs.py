"""What is known of an epoch and of the end of a fit."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

_MOST = 1 << 31
"""Of the contract's 32-bit integers."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Figures of one epoch, as `linnet.v1.Epoch` documents them."""

    number: int
    fold: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    eta_seconds: float
    best: bool

    @property
    def monitored(self) -> float:
        """The validation loss, the training loss where there is none or it is not finite."""
        if self.val_loss is None or not math.isfinite(self.loss):
            return self.loss
        return self.val_loss

    def to_dict(self) -> dict[str, Any]:
        """Give the epoch's entry of history.json."""
        return asdict(self)

    @classmethod
    def checked(cls, claimed: Mapping[str, Any]) -> "EpochRecord":
        """Make a record of values that a script's process claims.

        Raises:
            TypeError, ValueError, KeyError: A value is missing or no number.
        """
        number, fold = int(claimed["number"]), int(claimed["fold"])
        if not (0 <= fold < _MOST and 0 <= number < _MOST):
            raise ValueError(f"expected epoch and fold in [0, 2**31), received {number}, {fold}")
        val_loss, val_accuracy = claimed["val_loss"], claimed["val_accuracy"]
        return cls(
            number=number,
            fold=fold,
            loss=float(claimed["loss"]),
            accuracy=float(claimed["accuracy"]),
            val_loss=None if val_loss is None else float(val_loss),
            val_accuracy=None if val_accuracy is None else float(val_accuracy),
            learning_rate=float(claimed["learning_rate"]),
            seconds=float(claimed["seconds"]),
            eta_seconds=float(claimed["eta_seconds"]),
            best=bool(claimed["best"]),
        )

    def line(self, epochs: int) -> str:
        """Give the line that a person reads."""
        fold = f"fold {self.fold}, " if self.fold else ""
        validation = ""
        if self.val_loss is not None and self.val_accuracy is not None:
            validation = f", val_loss {self.val_loss:.4f}, val_accuracy {self.val_accuracy:.4f}"
        return (
            f"{fold}epoch {self.number}/{epochs}: loss {self.loss:.4f}, "
            f"accuracy {self.accuracy:.4f}{validation}, {self.seconds:.2f} s, "
            f"{self.eta_seconds:.0f} s left{', best' if self.best else ''}"
        )


class Ending(Enum):
    """Why a fit ended."""

    COMPLETED = "completed"
    EARLY_STOPPING = "early_stopping"
    TIME_LIMIT = "time_limit"
    DIVERGED = "diverged"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def is_interruption(self) -> bool:
        """Whether no model is wanted now."""
        return self in {Ending.CANCELLED, Ending.TERMINATED}


class Interrupted(Exception):
    """Ends a pass over rows before its end.

    Attributes:
        ending: Why.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending
