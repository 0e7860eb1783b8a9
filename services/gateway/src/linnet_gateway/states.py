"""Where runs, stages, batches and datasets stand, and which moves are allowed.

The enums have the numbers of linnet/v1/{run,batch,dataset}.proto.
"""

from dataclasses import dataclass
from enum import IntEnum


class RunState(IntEnum):
    """Where a run stands; the last three are final."""

    QUEUED = 1
    STARTING = 2
    TRAINING = 3
    ANALYZING = 4
    SUCCEEDED = 5
    FAILED = 6
    CANCELLED = 7

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self >= RunState.SUCCEEDED


TERMINAL = frozenset(state for state in RunState if state.terminal)
LIVE = frozenset(state for state in RunState if not state.terminal)
WITH_TRAINER = frozenset({RunState.STARTING, RunState.TRAINING})

_BEFORE: dict[RunState, frozenset[RunState]] = {
    # A run comes back to the queue when its launch is lost.
    RunState.QUEUED: WITH_TRAINER,
    # A trainer that begins a run anew brings it back to the start.
    RunState.STARTING: frozenset({RunState.QUEUED, RunState.STARTING, RunState.TRAINING}),
    RunState.TRAINING: frozenset({RunState.STARTING, RunState.TRAINING}),
    RunState.ANALYZING: WITH_TRAINER,
    RunState.SUCCEEDED: frozenset({RunState.ANALYZING}),
    RunState.FAILED: LIVE,
    RunState.CANCELLED: LIVE,
}


def sources(target: RunState) -> frozenset[RunState]:
    """Give the states that a run may move to `target` from."""
    return _BEFORE[target]


class StageState(IntEnum):
    """Where a stage stands."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    SKIPPED = 5

    @property
    def ended(self) -> bool:
        """Whether the stage changes no more."""
        return self >= StageState.SUCCEEDED


class StageKind(IntEnum):
    """Which stage of a run."""

    TRAIN = 1
    EVALUATE = 2
    PROFILE = 3


class BatchState(IntEnum):
    """Where a batch stands."""

    FILLING = 1
    RUNNING = 2
    SUSPENDED = 3
    DONE = 4


class DatasetState(IntEnum):
    """Where a dataset stands."""

    UPLOADING = 1
    READY = 2


class FailureReason(IntEnum):
    """Stable reason of a failure; the contract says what each means."""

    UNSPECIFIED = 0
    INVALID_SPEC = 1
    INVALID_DATA = 2
    DIVERGED = 3
    SCRIPT_ERROR = 4
    OUT_OF_MEMORY = 5
    EVICTED = 6
    IMAGE_PULL = 7
    UNSCHEDULABLE = 8
    DEADLINE_EXCEEDED = 9
    QUOTA_EXCEEDED = 10
    LAUNCH_DELETED = 11
    LAUNCH_FAILED = 12
    TRAINER_CRASHED = 13
    HEARTBEAT_LOST = 14
    STORE_UNAVAILABLE = 15
    EXPORT_FAILED = 16
    EVALUATION_FAILED = 17
    PROFILE_FAILED = 18
    INTERNAL = 19

    @property
    def retryable(self) -> bool:
        """Whether the same run may end otherwise when it is tried again."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        FailureReason.EVICTED,
        FailureReason.LAUNCH_DELETED,
        FailureReason.LAUNCH_FAILED,
        FailureReason.TRAINER_CRASHED,
        FailureReason.HEARTBEAT_LOST,
        FailureReason.STORE_UNAVAILABLE,
        FailureReason.OUT_OF_MEMORY,
        FailureReason.QUOTA_EXCEEDED,
        FailureReason.IMAGE_PULL,
        FailureReason.UNSCHEDULABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt, a stage or a shard failed.

    Attributes:
        reason: Stable reason.
        message: For a person: what happened and what to do.
        exit_code: Exit code of the trainer's process, if it ended; 128 + n for signal n.
        out_of_memory: Whether the kernel killed it for memory.
        log_tail: The last lines that it printed.
    """

    reason: FailureReason
    message: str
    exit_code: int | None = None
    out_of_memory: bool = False
    log_tail: tuple[str, ...] = ()
