"""How runs change hands: given to trainers, taken back, finished."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from linnet_runtime.errors import PermissionDenied

from linnet_gateway.records import FileRecord, LaunchRecord, LaunchState, RunRecord, altered
from linnet_gateway.states import Failure, FailureReason, RunState, StageKind, StageState
from linnet_gateway.transitions import end, fail, step_back, with_stage


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often a run is tried again.

    Attributes:
        lost_attempts: Attempts that may be lost with their trainer, the first included.
        launches: Launches that a run may be part of.
    """

    lost_attempts: int = 3
    launches: int = 4


def begin_attempt(run: RunRecord, now: datetime, trainer: str = "") -> RunRecord:
    """Hand a run out to the trainer of that name; an empty one was not told."""
    run = with_stage(run, StageKind.TRAIN, StageState.RUNNING, now)
    return altered(
        run,
        state=RunState.STARTING,
        attempt=run.attempt + 1,
        attempt_open=True,
        trainer=trainer,
        log_sequence=0,
        last_report_time=now,
        phase=0,
        waiting="",
    )


def lose_attempt(
    run: RunRecord, failure: Failure, limits: RetryLimits, now: datetime, *, charged: bool = True
) -> RunRecord:
    """Take a run back from a trainer that is gone; fails it when its tries are used up.

    Args:
        run: The run, whose attempt may be open or not.
        failure: Why the trainer is gone.
        limits: How often to try again.
        now: The present time.
        charged: Whether the attempt counts against the limit; an attempt that never reported,
            one whose trainer was asked to stop and one whose launch was stopped on purpose do not.
    """
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return end(run, RunState.CANCELLED, now)
    lost = run.lost_count + (1 if charged and run.attempt_open else 0)
    if lost >= limits.lost_attempts:
        message = f"{failure.message} (attempt {run.attempt}, {lost} lost)"
        return altered(fail(run, replace(failure, message=message), now), lost_count=lost)
    return altered(run, state=RunState.STARTING, attempt_open=False, lost_count=lost, phase=0)


def leave_launch(run: RunRecord, failure: Failure, limits: RetryLimits, now: datetime) -> RunRecord:
    """Put a run that its launch did not finish back into the queue, or fail it."""
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return end(run, RunState.CANCELLED, now)
    if run.launch_count >= limits.launches or not failure.reason.retryable:
        return fail(run, failure, now)
    run = with_stage(run, StageKind.TRAIN, StageState.PENDING, now)
    waiting = f"its launch ended early: {failure.message}"
    return altered(
        run,
        state=RunState.QUEUED,
        attempt_open=False,
        launch_uid=None,
        shard=0,
        phase=0,
        waiting=waiting[:500],
    )


def overdue(run: RunRecord, now: datetime) -> bool:
    """Whether a run that a trainer has took as long as its own deadline."""
    began = run.stage(StageKind.TRAIN).start_time
    if not run.attempt_open or began is None or run.deadline is None:
        return False
    return now - began >= run.deadline


def exceed_deadline(run: RunRecord, now: datetime, log_tail: tuple[str, ...] = ()) -> RunRecord:
    """Fail a run that used up its own deadline; any other stays as it is."""
    began = run.stage(StageKind.TRAIN).start_time
    if began is None or not overdue(run, now):
        return run
    why = f"the run took {now - began}, its deadline is {run.deadline}"
    failure = Failure(FailureReason.DEADLINE_EXCEEDED, why, log_tail=log_tail)
    return fail(run, failure, now)


def outlive_launch(
    run: RunRecord, failure: Failure, limits: RetryLimits, now: datetime
) -> RunRecord:
    """Take a run back from a launch of many that met its deadline, which is not the run's.

    A run that no trainer has costs nothing. One that a trainer has fails when it used up its own
    deadline, else it loses its attempt and goes on in the next launch.
    """
    if overdue(run, now):
        return exceed_deadline(run, now, failure.log_tail)
    if run.attempt_open:
        run = lose_attempt(run, failure, limits, now)
    waiting = "its launch met its deadline before the run was done; it goes on in the next one"
    back = step_back(run, now)
    return altered(back, waiting=waiting) if back.state is RunState.QUEUED else back


def choose_next(
    launch: LaunchRecord,
    held: RunRecord | None,
    waiting: RunRecord | None,
    *,
    crash: Failure | None,
    limits: RetryLimits,
    now: datetime,
    trainer: str = "",
) -> tuple[Sequence[RunRecord], RunRecord | None]:
    """Choose what a shard that asks for work does next.

    Args:
        launch: The shard's launch; one that stops or has ended gives no work.
        held: The run that a trainer of the shard has and did not finish.
        waiting: The first run of the shard that nobody has.
        crash: Why the trainer that has it ended, if it did and that is known.
        limits: How often to try a run again.
        now: The present time.
        trainer: Name of the process that asks; empty if it said none.

    Returns:
        The runs to change, and which of them the trainer gets.
    """
    if launch.state in {LaunchState.STOPPING, LaunchState.ENDED}:
        return [], None
    if held is not None:
        reported = held.log_sequence > 0 or held.state is RunState.TRAINING
        failure = crash or Failure(
            FailureReason.TRAINER_CRASHED,
            "the trainer ended without a result; its output has more",
        )
        # Whoever asked the trainer to stop, it was not the run.
        evicted = failure.reason is FailureReason.EVICTED
        # What is known of a process that said no name may be the end of the one before it.
        charged = (reported or (crash is not None and bool(held.trainer))) and not evicted
        return [lose_attempt(held, failure, limits, now, charged=charged)], None
    if waiting is None:
        return [], None
    if waiting.cancel_time is not None:
        return [end(waiting, RunState.CANCELLED, now)], None
    handed = begin_attempt(waiting, now, trainer)
    return [handed], handed


def check_attempt(run: RunRecord, attempt: int) -> None:
    """Refuse a trainer whose attempt is no longer the run's.

    Raises:
        PermissionDenied: The attempt was taken back, ended, or replaced by a later one.
    """
    if run.attempt != attempt or not run.attempt_open:
        raise PermissionDenied(
            f"attempt {attempt} of run {run.name} is not under way any more",
            reason="STALE_ATTEMPT",
            metadata={"run": run.name, "attempt": str(attempt)},
        )


def trained(
    run: RunRecord,
    files: tuple[FileRecord, ...],
    summary: bytes,
    warnings: tuple[str, ...],
    now: datetime,
) -> RunRecord:
    """Take the model of an attempt: evaluation and profiling come next."""
    if run.cancel_time is not None:
        return end(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.SUCCEEDED, now)
    return altered(
        run,
        state=RunState.ANALYZING,
        start_time=run.start_time or now,
        attempt_open=False,
        artifacts=files,
        checkpoint=(),
        summary=summary,
        warnings=warnings,
        phase=0,
    )


def trainer_failed(
    run: RunRecord, failure: Failure, limits: RetryLimits, now: datetime
) -> RunRecord:
    """Take the failure that a trainer reports of its attempt."""
    if failure.reason.retryable and failure.reason is not FailureReason.OUT_OF_MEMORY:
        return lose_attempt(run, failure, limits, now)
    return fail(run, failure, now)


def blames_launch(failure: Failure) -> bool:
    """Whether a failure speaks of the launch as a whole and not of the run in progress."""
    return failure.reason in {
        FailureReason.INVALID_SPEC,
        FailureReason.INVALID_DATA,
        FailureReason.LAUNCH_FAILED,
        FailureReason.IMAGE_PULL,
        FailureReason.UNSCHEDULABLE,
        FailureReason.QUOTA_EXCEEDED,
        FailureReason.DEADLINE_EXCEEDED,
        FailureReason.LAUNCH_DELETED,
    }
