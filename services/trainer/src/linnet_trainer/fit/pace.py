"""How fast a fit goes; knows no clock. What tracing costs, once, is left out."""

from collections import deque
from dataclasses import dataclass

CHUNK_SECONDS = 0.2
"""Time of a chunk of steps: progress, cancelling and limits are looked at in between."""
_RECENT_EPOCHS = 10
_SHORT_EPOCH_SECONDS = 0.1
_SETTLED_SECONDS = 0.2
_SETTLED_EPOCHS = 3


@dataclass(frozen=True, slots=True)
class LaterFits:
    """What comes after a fit of several.

    Attributes:
        epochs: Epochs of the later fits, counted in epochs of this one.
        seconds: Time that they take besides.
    """

    epochs: float = 0.0
    seconds: float = 0.0

    def time(self, epoch_seconds: float) -> float:
        """Give their seconds where an epoch of this fit takes that many."""
        return self.epochs * epoch_seconds + self.seconds


NOTHING_LATER = LaterFits()


class Pace:
    """Learns what steps, validations and epochs of a fit take.

    Args:
        steps: Steps an epoch.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._epochs: deque[float] = deque(maxlen=_RECENT_EPOCHS)
        self._step: float | None = None
        self._validation: float | None = None
        self._seen_steps, self._seen_seconds = 0, 0.0

    @property
    def chunk(self) -> int:
        """Steps to take before looking up again; one until a step's time is known."""
        if self._step is None:
            return 1
        return max(1, int(CHUNK_SECONDS / max(self._step, 1e-9)))

    @property
    def steps_to_time(self) -> int:
        """Steps to time for an epoch's sake: those seen are none, or so few that calls weigh in."""
        if self._step is None:
            return 1
        short = self._step * self._steps < _SHORT_EPOCH_SECONDS
        return self._steps if short and 2 * self._seen_steps < self._steps else 0

    @property
    def knows_validation(self) -> bool:
        """Whether a validation was timed."""
        return self._validation is not None

    @property
    def settled(self) -> bool:
        """Whether `epoch_seconds` rests on more than a moment."""
        return self._seen_seconds >= _SETTLED_SECONDS or len(self._epochs) >= _SETTLED_EPOCHS

    def took_steps(self, steps: int, seconds: float) -> None:
        """Take the time of steps."""
        self._step = seconds / steps
        self._seen_steps += steps
        self._seen_seconds += seconds

    def took_validation(self, seconds: float) -> None:
        """Take the time of a validation."""
        self._validation = seconds

    def took_epoch(self, seconds: float) -> None:
        """Take the time from the end of one epoch to the end of the next."""
        self._epochs.append(seconds)

    def epoch_seconds(self, besides: float = 0.0) -> float:
        """Give the seconds of an epoch to come: the mean of the last ones.

        Args:
            besides: What the present epoch took besides steps and validation; counts while none
                was timed as a whole.
        """
        if self._epochs:
            return sum(self._epochs) / len(self._epochs)
        return (self._step or 0.0) * self._steps + (self._validation or 0.0) + besides
