"""How runs change: each function gives the run as it is to be, or refuses.

The records check each move against `linnet_gateway.states` again when it is written.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from linnet_runtime.errors import NotAllowedInState

from linnet_gateway.records import (
    BatchRecord,
    FileRecord,
    RunRecord,
    StageRecord,
    altered,
)
from linnet_gateway.states import (
    BatchState,
    Failure,
    RunState,
    StageKind,
    StageState,
)


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

    return altered(run, stages=tuple(moved(stage) for stage in run.stages))


def end(run: RunRecord, state: RunState, now: datetime) -> RunRecord:
    """Make a run terminal: no attempt is open and no stage is under way any more."""
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
    return altered(
        run, state=state, end_time=now, attempt_open=False, stages=stages, waiting="", phase=0
    )


def fail(run: RunRecord, failure: Failure, now: datetime) -> RunRecord:
    """End a run with a failure, or as cancelled if that was asked for; a terminal run stays."""
    if run.state.terminal:
        return run
    if run.cancel_time is not None:
        return end(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.FAILED, now, failure)
    return altered(end(run, RunState.FAILED, now), failure=failure)


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
    run = altered(run, cancel_time=run.cancel_time or now)
    return run if run.attempt_open else end(run, RunState.CANCELLED, now)


def cancelled(run: RunRecord, now: datetime) -> RunRecord:
    """End a run whose cancelling was asked for."""
    return run if run.state.terminal else end(run, RunState.CANCELLED, now)


def starting(run: RunRecord) -> RunRecord:
    """Note that the launch of a run is under way."""
    if run.state is not RunState.QUEUED:
        return run
    return altered(run, state=RunState.STARTING, waiting="")


def waiting(run: RunRecord, why: str) -> RunRecord:
    """Note why a run is not under way yet."""
    return altered(run, waiting=why) if run.state is RunState.QUEUED else run


def step_back(run: RunRecord, now: datetime) -> RunRecord:
    """Put a run whose launch was stopped on purpose back into the queue, without a charge."""
    if run.state.terminal or run.state is RunState.ANALYZING:
        return run
    if run.cancel_time is not None:
        return end(run, RunState.CANCELLED, now)
    run = with_stage(run, StageKind.TRAIN, StageState.PENDING, now)
    return altered(
        run,
        state=RunState.QUEUED,
        attempt_open=False,
        launch_uid=None,
        launch_count=max(run.launch_count - 1, 0),
        shard=0,
        phase=0,
    )


def check_takes_retries(batch: BatchRecord) -> None:
    """Refuse to retry runs of a batch that is being filled or suspended.

    Raises:
        NotAllowedInState: It is.
    """
    if batch.state in {BatchState.FILLING, BatchState.SUSPENDED}:
        raise NotAllowedInState(
            f"batch {batch.name} is {batch.state.name}, expected RUNNING or DONE",
            metadata={"batch": batch.name, "state": batch.state.name},
        )


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
        run = altered(run, summary=summary)
    if files:
        names = {file.name for file in files}
        kept = tuple(f for f in run.artifacts if f.name not in names)
        run = altered(run, artifacts=(*kept, *files))
    if failure is not None:
        name = "evaluation" if kind is StageKind.EVALUATE else "profiling"
        run = altered(run, warnings=(*run.warnings, f"{name} failed: {failure.message}"))
    if all(stage.state.ended for stage in run.stages):
        return altered(run, state=RunState.SUCCEEDED, end_time=now)
    return run


def stage_left_out(run: RunRecord, kind: StageKind, why: str, now: datetime) -> RunRecord:
    """Note that there is nothing to evaluate or profile; the run has succeeded all the same."""
    if run.state is not RunState.ANALYZING or run.stage(kind).state.ended:
        return run
    run = with_stage(run, kind, StageState.SKIPPED, now)
    if why not in run.warnings:
        run = altered(run, warnings=(*run.warnings, why))
    if all(stage.state.ended for stage in run.stages):
        return altered(run, state=RunState.SUCCEEDED, end_time=now)
    return run
