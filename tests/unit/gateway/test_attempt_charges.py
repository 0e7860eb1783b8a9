"""Which lost attempts count against a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from linnet_gateway.attempts import RetryLimits, begin_attempt, choose_next
from linnet_gateway.launches.trainer_exits import outcome_of
from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord
from linnet_gateway.states import Failure, FailureReason, RunState
from linnet_runtime.lifecycle import ExitCode

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LIMITS = RetryLimits(lost_attempts=3)
LAUNCH = LaunchRecord(
    uid="l-one",
    project="demo",
    create_time=NOW,
    state=LaunchState.LAUNCHED,
    shard_count=1,
    parallelism=1,
    cpu_millis=500,
    memory_bytes=2**30,
    deadline=None,
    expert=False,
    spec_digest="d" * 64,
)


def a_run() -> RunRecord:
    return RunRecord(
        uid="u-one",
        project="demo",
        id="one",
        create_time=NOW,
        update_time=NOW,
        spec_digest="",
        dataset="wine",
        target="t",
        spec=b"",
    )


def lost(run: RunRecord, crash: Failure | None) -> RunRecord:
    """Hand the run out, let it report, and let the next trainer of the shard ask."""
    held = replace(begin_attempt(run, NOW), state=RunState.TRAINING, log_sequence=1)
    (changed,), handed = choose_next(LAUNCH, held, None, crash=crash, limits=LIMITS, now=NOW)
    assert handed is None
    return changed


def ended_by(code: int) -> Failure:
    outcome = outcome_of(code)
    return Failure(outcome.reason, outcome.message, int(code))


@pytest.mark.parametrize("code", [ExitCode.TERMINATED, ExitCode.CHECKPOINT_LOST])
def test_a_trainer_that_was_asked_to_stop_costs_the_run_nothing(code: ExitCode) -> None:
    """Drains, preemptions and evictions may come as often as they like."""
    run = a_run()
    for _ in range(5):
        run = lost(run, ended_by(code))
        assert run.lost_count == 0
        assert run.state is RunState.STARTING


@pytest.mark.parametrize(
    ("crash", "reason"),
    [
        (ended_by(ExitCode.CRASHED), FailureReason.TRAINER_CRASHED),
        (ended_by(139), FailureReason.TRAINER_CRASHED),
        (None, FailureReason.TRAINER_CRASHED),
        (
            Failure(FailureReason.OUT_OF_MEMORY, "killed", 137, out_of_memory=True),
            FailureReason.OUT_OF_MEMORY,
        ),
    ],
)
def test_a_run_that_breaks_its_trainer_fails_at_the_limit(
    crash: Failure | None, reason: FailureReason
) -> None:
    """Crashes and kills for memory are charged, and the third ends the run with its reason."""
    run = a_run()
    for number in (1, 2):
        run = lost(run, crash)
        assert (run.lost_count, run.state) == (number, RunState.STARTING)
    run = lost(run, crash)
    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is reason


def test_an_end_that_may_be_of_another_trainer_costs_nothing_that_was_not_begun() -> None:
    """A run that never reported is charged only for the end of the very process that had it."""
    crash = ended_by(ExitCode.CRASHED)
    for trainer, charged in (("p-one", 1), ("", 0)):
        held = begin_attempt(a_run(), NOW, trainer)
        (changed,), _ = choose_next(LAUNCH, held, None, crash=crash, limits=LIMITS, now=NOW)
        assert changed.lost_count == charged
