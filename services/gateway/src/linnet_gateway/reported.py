"""What trainers report, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """What a trainer reported of an attempt in one message.

    Attributes:
        first: Sequence of the first entry; 0 if it has none.
        last: Sequence of the last one.
        entries: Serialized LogEntries.
        epochs: Serialized Epoch by sequence.
        progress: Serialized Progress after it; empty if it has no epoch and no ratio.
        time_used_us: Training time of the run so far, in microseconds.
    """

    run_uid: str
    attempt: int
    first: int
    last: int
    entries: bytes
    epochs: Mapping[int, bytes]
    progress: bytes
    phase: int
    memory_bytes: int
    time_used_us: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a report.

    Attributes:
        sequence: Last entry of the attempt that is stored.
        current: Whether the attempt is still the run's and open; else nothing was stored.
        cancelled: Whether the run is to be cancelled.
        gap: Whether entries before the report's first are missing; then nothing was stored.
    """

    sequence: int
    current: bool
    cancelled: bool
    gap: bool = False
