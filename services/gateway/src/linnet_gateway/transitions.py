"""How runs change: each function gives the run as it is to be, or refuses.

The records check each move against `linnet_gateway.states` again when it is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from linnet_runtime.errors import NotAllowedInState, PermissionDenied

from linnet_gateway.records import (
    BatchRecord,
    FileRecord,
    LaunchRecord,
    LaunchState,
    RunRecord,
    StageRecord,
)
from linnet_gateway.states import (
    BatchState,
    Failure,
    FailureReason,
    RunState,
    StageKind,
    StageState,
)


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often a run is tried again.

    Attributes:
        lost_attempts: Attempts that may be lost with their trainer, the first included.
        launches: Launches that a run may be part of.
    """

    lost_attempts: int = 3
    launches: int = 4


def with_stage(
    run: RunRecord,
    kind: StageKind,
    state: StageState,
    now: datetime,
    failure: Failure | None = None,
) -> RunRecord:
    """Move a stage, noting when it began and ended."""

    def moved(stage: StageRecord) -> StageRecord:
        if stage.kind is not kind:
            return stage
        start = stage.start_time
        if state is StageState.PENDING:
            return StageRecord(kind)
        if start is None and state is not StageState.SKIPPED:
            start = now
        return StageRecord(kind, state, start, now if state.ended else None, failure)

    return replace(run, stages=tuple(moved(stage) for stage in run.stages))


def _ended(run: RunRecord, state: RunState, now: datetime) -> RunRecord:
    stages = tuple(
        stage
        if stage.state.ended
        else replace(
            stage,
            state=StageState.SKIPPED if stage.state is StageState.PENDING else StageState.FAILED,
            end_time=now if stage.state is StageState.RUNNING else None,
        )
        for stage in run.stages
    )
    return replace(
        run, state=state, end_time=now, attempt_open=False, stages=stages, waiting="", phase=0
    )


def fail(run: RunRecord, failure: Failure, now: datetime) -> RunRecord:
    """End a run with a failure, or as cancelled if that was asked for; a terminal run stays."""
    if run.state.terminal:
        return run
    if run.cancel_time is not None:
        return _ended(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.FAILED, now, failure)
    return replace(_ended(run, RunState.FAILED, now), failure=failure)


def ask_to_cancel(run: RunRecord, now: datetime) -> RunRecord:
    """Cancel a run: at once if no trainer has it, else as soon as its trainer hears of it.

    Raises:
        NotAllowedInState: It succeeded or failed.
    """
    if run.state is RunState.CANCELLED:
        return run
    if run.state.terminal:
        raise NotAllowedInState(
            f"run {run.name} is {run.state.name}, only runs that are not terminal can be cancelled",
            reason="RUN_IS_TERMINAL",
            metadata={"run": run.name, "state": run.state.name},
        )
    run = replace(run, cancel_time=run.cancel_time or now)
    return run if run.attempt_open else _ended(run, RunState.CANCELLED, now)


def cancelled(run: RunRecord, now: datetime) -> RunRecord:
    """End a run whose cancelling was asked for."""
    return run if run.state.terminal else _ended(run, RunState.CANCELLED, now)


def begin_attempt(run: RunRecord, now: datetime) -> RunRecord:
    """Hand a run out to a trainer."""
    run = with_stage(run, StageKind.TRAIN, StageState.RUNNING, now)
    return replace(
        run,
        state=RunState.STARTING,
        attempt=run.attempt + 1,
        attempt_open=True,
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
        charged: Whether the attempt counts against the limit; an attempt that never reported
            and one whose launch was stopped on purpose do not.
    """
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return _ended(run, RunState.CANCELLED, now)
    lost = run.lost_count + (1 if charged and run.attempt_open else 0)
    if lost >= limits.lost_attempts:
        message = f"{failure.message} (attempt {run.attempt}, {lost} lost)"
        return replace(fail(run, replace(failure, message=message), now), lost_count=lost)
    return replace(run, state=RunState.STARTING, attempt_open=False, lost_count=lost, phase=0)


def leave_launch(run: RunRecord, failure: Failure, limits: RetryLimits, now: datetime) -> RunRecord:
    """Put a run that its launch did not finish back into the queue, or fail it."""
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return _ended(run, RunState.CANCELLED, now)
    if run.launch_count >= limits.launches or not failure.reason.retryable:
        return fail(run, failure, now)
    run = with_stage(run, StageKind.TRAIN, StageState.PENDING, now)
    waiting = f"its launch ended early: {failure.message}"
    return replace(
        run,
        state=RunState.QUEUED,
        attempt_open=False,
        launch_uid=None,
        shard=0,
        phase=0,
        waiting=waiting[:500],
    )


def choose_next(
    launch: LaunchRecord,
    held: RunRecord | None,
    waiting: RunRecord | None,
    *,
    crash: Failure | None,
    limits: RetryLimits,
    now: datetime,
) -> tuple[Sequence[RunRecord], RunRecord | None]:
    """Choose what a shard that asks for work does next.

    Args:
        launch: The shard's launch; one that stops or has ended gives no work.
        held: The run that an earlier trainer of the shard had and did not finish.
        waiting: The first run of the shard that nobody has.
        crash: Why that earlier trainer ended, if it is known.
        limits: How often to try a run again.
        now: The present time.

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
        return [
            lose_attempt(held, failure, limits, now, charged=reported or crash is not None)
        ], None
    if waiting is None:
        return [], None
    if waiting.cancel_time is not None:
        return [_ended(waiting, RunState.CANCELLED, now)], None
    handed = begin_attempt(waiting, now)
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
        return _ended(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.SUCCEEDED, now)
    return replace(
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


def starting(run: RunRecord) -> RunRecord:
    """Note that the launch of a run is under way."""
    return replace(run, state=RunState.STARTING) if run.state is RunState.QUEUED else run


def step_back(run: RunRecord, now: datetime) -> RunRecord:
    """Put a run whose launch was stopped on purpose back into the queue, without a charge."""
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return _ended(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.PENDING, now)
    return replace(
        run, state=RunState.QUEUED, attempt_open=False, launch_uid=None, shard=0, phase=0
    )


def batch_done(batch: BatchRecord, now: datetime) -> BatchRecord:
    """Note that the last run of a batch is terminal; a batch that is being filled goes on."""
    if batch.state not in {BatchState.RUNNING, BatchState.SUSPENDED}:
        return batch
    return replace(batch, state=BatchState.DONE, end_time=now)


def stage_begun(run: RunRecord, kind: StageKind, now: datetime) -> RunRecord:
    """Note that evaluation or profiling began."""
    if run.state is not RunState.ANALYZING or run.stage(kind).state is not StageState.PENDING:
        return run
    return with_stage(run, kind, StageState.RUNNING, now)


def stage_ended(
    run: RunRecord,
    kind: StageKind,
    failure: Failure | None,
    now: datetime,
    *,
    summary: bytes | None = None,
    files: Sequence[FileRecord] = (),
) -> RunRecord:
    """Note how evaluation or profiling ended; the run has succeeded when both have.

    A failed evaluation or profile does not throw a good model away: it becomes a warning.
    """
    if run.state is not RunState.ANALYZING or run.stage(kind).state.ended:
        return run
    state = StageState.SUCCEEDED if failure is None else StageState.FAILED
    run = with_stage(run, kind, state, now, failure)
    if summary is not None:
        run = replace(run, summary=summary)
    if files:
        names = {file.name for file in files}
        kept = tuple(f for f in run.artifacts if f.name not in names)
        run = replace(run, artifacts=(*kept, *files))
    if failure is not None:
        name = "evaluation" if kind is StageKind.EVALUATE else "profiling"
        run = replace(run, warnings=(*run.warnings, f"{name} failed: {failure.message}"))
    if all(stage.state.ended for stage in run.stages):
        return replace(run, state=RunState.SUCCEEDED, end_time=now)
    return run
