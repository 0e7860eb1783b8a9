"""What becomes of the runs of a batch when their launch meets its deadline."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from linnet.v1 import run_pb2, runner_service_pb2
from linnet_gateway.attempts import RetryLimits, begin_attempt, outlive_launch
from linnet_gateway.launches.launcher import ShardState, ShardStatus
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, Failure, FailureReason, RunState

from tests.fakes.faults import Faults
from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import T0, a_report, a_run

LIMITS = RetryLimits(lost_attempts=3)
DEADLINE = Failure(FailureReason.DEADLINE_EXCEEDED, "the launch took longer than its deadline")


def in_launch(**changes: object) -> RunRecord:
    return a_run(
        batch_uid="b1", launch_uid="l1", launch_count=4, deadline=timedelta(hours=2), **changes
    )


def test_a_run_that_no_trainer_had_costs_nothing() -> None:
    """However many launches met their deadline before its turn came."""
    run = outlive_launch(in_launch(), DEADLINE, LIMITS, T0)
    assert (run.state, run.launch_uid, run.lost_count) == (RunState.QUEUED, None, 0)
    assert "deadline" in run.waiting


def test_a_run_within_its_own_deadline_goes_on_in_the_next_launch() -> None:
    """It loses the attempt that was cut short."""
    held = begin_attempt(in_launch(), T0)
    run = outlive_launch(held, DEADLINE, LIMITS, T0 + timedelta(hours=1))
    assert (run.state, run.lost_count, run.attempt_open) == (RunState.QUEUED, 1, False)


def test_a_run_beyond_its_own_deadline_fails_by_it() -> None:
    """The message tells the run's times, not the launch's."""
    held = begin_attempt(in_launch(), T0)
    run = outlive_launch(held, DEADLINE, LIMITS, T0 + timedelta(hours=2))
    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is FailureReason.DEADLINE_EXCEEDED
    assert run.failure.message == "the run took 2:00:00, its deadline is 2:00:00"


def test_a_run_that_outlives_launch_after_launch_ends() -> None:
    """The third attempt that a launch's deadline cuts short is the last."""
    run = in_launch()
    for _ in range(3):
        held = begin_attempt(run, T0)
        run = outlive_launch(held, DEADLINE, LIMITS, T0 + timedelta(hours=1))
    assert run.state is RunState.FAILED


def test_what_was_cancelled_stays_cancelled() -> None:
    """A run whose cancelling was asked for is not queued again."""
    run = outlive_launch(in_launch(cancel_time=T0), DEADLINE, LIMITS, T0)
    assert run.state is RunState.CANCELLED


async def reported_by(records: Records, world: World, uid: str) -> None:
    """Have the trainer of a run report a line."""
    said = run_pb2.LogEntry(attempt=1, sequence=1, text="last words")
    entries = runner_service_pb2.LogEntries(entries=[said]).SerializeToString()
    report = a_report(await records.runs.get_uid(uid), 1, entries=entries)
    await records.trainings.store_reports([report], world.clock.now())


async def a_batch(records: Records, **changes: object) -> None:
    """Make a batch of two runs in one shard."""
    batch = BatchRecord("b1", "demo", "b", T0, BatchState.FILLING, shard_size=2)
    await records.batches.create(batch)
    of_batch = {"batch_uid": "b1", "batch_id": "b", **changes}
    runs = [a_run(f"u{i}", batch_index=i, **of_batch) for i in range(2)]
    await records.batches.add("b1", runs, 0)
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))


@pytest.mark.parametrize("hears", [True, False])
async def test_a_run_of_a_batch_ends_at_its_own_deadline(tmp_path: Path, *, hears: bool) -> None:
    """Its launch has no deadline; the run fails with what it printed, the next one is handed out.

    A run that waited in between has not used its time up. A trainer that does not hear that its
    run is over is stopped with its launch, at no cost for the runs behind.
    """
    world = World(tmp_path, 0)
    migrate.upgrade(world.url)
    await world.begin()
    gateway = Gateway(world, Faults())
    records = gateway.records
    hour = timedelta(hours=1)
    await a_batch(records, deadline=hour, spec=a_spec().SerializeToString())
    await gateway.reconciler.step()
    (uid,) = world.launcher.launches
    claim = gateway.runner.launch_of(world.token_of(uid))

    async def reported(minutes: int) -> None:
        world.clock.move(60 * minutes)
        await reported_by(records, world, "u0")

    first = await gateway.runner.acquire(claim, 0, "p1")
    assert first is not None
    await reported(1)
    # It began two hours before this launch took it.
    early = world.clock.now() - 2 * hour
    await records.runs.change("u0", lambda run: replace(run, start_time=early))
    await gateway.reconciler.step()
    assert (await records.runs.get_uid("u0")).state is RunState.TRAINING
    await reported(60)
    await gateway.reconciler.step()
    late = await records.runs.get_uid("u0")
    next_one = None
    if hears:
        # Its trainer is told to stop, and says that it did.
        stopped = runner_service_pb2.FinishRunRequest(cancelled=True)
        token = gateway.runner.run_of(first.run_token)
        assert await gateway.runner.finish(token, stopped) is RunState.FAILED
        next_one = await gateway.runner.acquire(claim, 0, "p1")
        assert next_one is not None
        assert next_one.run.endswith("u1")
    for minutes in (9, 2):
        assert uid in world.launcher.launches
        world.clock.move(60 * minutes)
        if next_one is not None:
            await reported_by(records, world, "u1")
        await gateway.reconciler.step()
    assert (uid in world.launcher.launches) is hears
    await gateway.reconciler.step()
    behind = await records.runs.get_uid("u1")
    await gateway.close()
    assert (behind.attempt_open, behind.lost_count) == (hears, 0)
    assert late.state is RunState.FAILED
    assert late.failure is not None
    assert late.failure.reason is FailureReason.DEADLINE_EXCEEDED
    assert late.failure.message == "the run took 1:01:00, its deadline is 1:00:00"
    assert late.failure.log_tail == ("last words",)


@pytest.mark.parametrize("ended", [False, True])
async def test_a_batch_outlives_the_deadline_of_its_launch(tmp_path: Path, *, ended: bool) -> None:
    """All runs of a batch whose launch met its deadline are launched again."""
    world = World(tmp_path, 0)
    migrate.upgrade(world.url)
    await world.begin()
    gateway = Gateway(world, Faults())
    batches = gateway.records.batches
    await batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    runs = [a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i) for i in range(4)]
    await batches.add("b1", runs, 0)
    await batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    await gateway.reconciler.step()
    (first,) = world.launcher.launches
    assert world.launcher.launches[first].deadline is None
    failed = ShardStatus(0, ShardState.FAILED, DEADLINE)
    world.launcher.fail_launch(first, DEADLINE, [failed] if ended else [])
    await gateway.reconciler.step()
    stored = [await gateway.records.runs.get_uid(run.uid) for run in runs]
    await gateway.reconciler.step()
    (second,) = world.launcher.launches
    await gateway.close()
    assert [run.state for run in stored] == [RunState.QUEUED] * 4
    assert second != first
