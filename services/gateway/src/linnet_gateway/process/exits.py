"""What an exit code says of a trainer that died."""

import signal

from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.states import Failure, FailureReason

_MESSAGES = {
    ExitCode.USAGE: "the trainer refused its settings",
    ExitCode.BAD_DATA: "the launch's data can't be used",
    ExitCode.BAD_CONFIG: "the trainer was refused by the gateway",
    ExitCode.UNAVAILABLE: "the trainer could not reach gateway or store for too long",
    ExitCode.CHECKPOINT_LOST: "the trainer was stopped and could not save a checkpoint",
    ExitCode.TERMINATED: "the trainer was stopped from outside",
}
_REASONS = {
    ExitCode.BAD_DATA: FailureReason.INVALID_DATA,
    ExitCode.UNAVAILABLE: FailureReason.STORE_UNAVAILABLE,
    ExitCode.TERMINATED: FailureReason.EVICTED,
    ExitCode.CHECKPOINT_LOST: FailureReason.EVICTED,
}
_SIGNAL_BASE = 128


def failure_of(code: int, tail: tuple[str, ...], *, out_of_memory: bool) -> Failure:
    """Say why a trainer died.

    Args:
        code: Its exit code; 128 + n for signal n.
        tail: The last lines that it printed.
        out_of_memory: Whether the kernel killed something for memory while it ran.
    """
    if out_of_memory:
        return Failure(
            FailureReason.OUT_OF_MEMORY,
            "the kernel killed the trainer for memory; use a smaller batch or model",
            code,
            out_of_memory=True,
            log_tail=tail,
        )
    try:
        known = ExitCode(code)
    except ValueError:
        known = ExitCode.CRASHED
    message = _MESSAGES.get(known, "the trainer crashed; its last lines say more")
    if code > _SIGNAL_BASE and known is not ExitCode.TERMINATED:
        try:
            name = signal.Signals(code - _SIGNAL_BASE).name
        except ValueError:
            name = f"signal {code - _SIGNAL_BASE}"
        message = f"the trainer was killed by {name}"
    reason = _REASONS.get(known, FailureReason.TRAINER_CRASHED)
    return Failure(reason, f"{message} (exit code {code})", code, log_tail=tail)
