"""What an exit code of a trainer means, wherever it ran. Pure.

Every launcher reads this one table: the process launcher for retries and reasons, the Kubernetes
launcher for a Job's `podFailurePolicy` and for reasons.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.states import FailureReason

_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trainer's end by an exit code says.

    Attributes:
        reason: Stable reason of the failure.
        message: What happened, for a person.
        retried: Whether the shard is tried again; if not, it has failed.
    """

    reason: FailureReason
    message: str
    retried: bool = True


OUTCOMES: Mapping[int, Outcome] = MappingProxyType(
    {
        ExitCode.CRASHED: Outcome(
            FailureReason.TRAINER_CRASHED,
            "the trainer met an error that it did not expect; its last lines say which",
        ),
        ExitCode.USAGE: Outcome(
            FailureReason.LAUNCH_FAILED,
            "the trainer refused its command line or settings: is it of the gateway's version?",
            retried=False,
        ),
        ExitCode.BAD_DATA: Outcome(
            FailureReason.INVALID_DATA,
            "no run of the shard can use the launch's data",
            retried=False,
        ),
        ExitCode.UNAVAILABLE: Outcome(
            FailureReason.STORE_UNAVAILABLE,
            "the trainer could not reach the gateway or the object store for too long",
        ),
        ExitCode.CHECKPOINT_LOST: Outcome(
            FailureReason.EVICTED,
            "the trainer was asked to stop and could not save a checkpoint",
        ),
        ExitCode.BAD_CONFIG: Outcome(
            FailureReason.LAUNCH_FAILED,
            "the trainer found the launch itself wrong, such as a refused token",
            retried=False,
        ),
        # The code alone does not tell the kernel's kill for memory from any other SIGKILL.
        ExitCode.OUT_OF_MEMORY: Outcome(FailureReason.TRAINER_CRASHED, "SIGKILL ended the trainer"),
        ExitCode.TERMINATED: Outcome(
            FailureReason.EVICTED, "the trainer was asked to stop and saved its checkpoint"
        ),
    }
)


def outcome_of(exit_code: int) -> Outcome:
    """Say what an exit code of a trainer means, when nothing else explains its end.

    Args:
        exit_code: Not 0; 128 + n for signal n.
    """
    known = OUTCOMES.get(exit_code)
    if known is not None:
        return Outcome(known.reason, f"{known.message} (exit code {exit_code})", known.retried)
    if exit_code > _SIGNALLED:
        message = f"{_signal_name(exit_code - _SIGNALLED)} ended the trainer"
        return Outcome(FailureReason.TRAINER_CRASHED, f"{message} (exit code {exit_code})")
    return Outcome(FailureReason.TRAINER_CRASHED, f"the trainer ended with exit code {exit_code}")


def final_codes() -> tuple[int, ...]:
    """Give the exit codes after which a shard is not tried again, in order."""
    return tuple(sorted(int(code) for code, outcome in OUTCOMES.items() if not outcome.retried))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
