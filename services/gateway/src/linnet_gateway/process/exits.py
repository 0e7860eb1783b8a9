"""Why a trainer process died: its exit code and what the kernel did."""

from linnet_gateway.launches.trainer_exits import outcome_of
from linnet_gateway.states import Failure, FailureReason


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
    outcome = outcome_of(code)
    return Failure(outcome.reason, outcome.message, code, log_tail=tail)
