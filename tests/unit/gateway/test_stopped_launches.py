"""Launches that were stopped on purpose, and replicas that wake up after another has gone on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from linnet_gateway.attempts import trained
from linnet_gateway.records import BatchRecord, Event, FileRecord, LaunchState, RunRecord
from linnet_gateway.states import BatchState, RunState, StageKind, StageState
from linnet_runtime.ids import ResourceName

from tests.fakes.faults import Faults
from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import T0, a_run

SPEC = a_spec(2).SerializeToString()
NAME = ResourceName("demo", "batches", "b")


async def in_batch(gateway: Gateway, count: int = 1) -> list[RunRecord]:
    """Add a batch that is running."""
    batches = gateway.records.batches
    await batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING, shard_size=1))
    members = [
        a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i, spec=SPEC) for i in range(count)
    ]
    await batches.add("b1", members, 0)
    await batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    return members


async def test_suspending_uses_up_no_launches(world: World, gateway: Gateway) -> None:
    """However often its batch was suspended, a run whose Job somebody deletes is launched again."""
    await in_batch(gateway)
    for _ in range(5):
        await gateway.reconciler.step()
        assert (await gateway.records.runs.get_uid("u0")).launch_uid is not None
        await gateway.batches.suspend(NAME, "")
        for _ in range(2):
            await gateway.reconciler.step()
        assert (await gateway.records.runs.get_uid("u0")).launch_uid is None
        await gateway.batches.resume(NAME, "")
    await gateway.reconciler.step()
    world.launcher.shards.clear()
    world.launcher.launches.clear()
    for _ in range(2):
        await gateway.reconciler.step()
    run = await gateway.records.runs.get_uid("u0")
    assert (run.state, run.launch_count) == (RunState.QUEUED, 2)


async def test_nothing_of_a_suspended_batch_is_launched(world: World, gateway: Gateway) -> None:
    """A launch that was planned, and gets its turn after its batch was suspended, is not made."""
    await in_batch(gateway)
    await gateway.reconciler._plan()
    await gateway.batches.suspend(NAME, "")
    await gateway.reconciler.step()
    assert world.launcher.started == []


async def test_a_replica_that_wakes_late_takes_no_run_from_its_next_launch(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it read of the launch that is over does not move a run that has another by now."""
    await in_batch(gateway)
    await gateway.reconciler.step()
    (old,) = await gateway.records.launches.live()
    await gateway.batches.suspend(NAME, "")
    await gateway.reconciler._suspend()
    late = Gateway(world, Faults())
    stale = await late.records.launches.unfinished(old.uid)
    await gateway.reconciler.step()
    await gateway.batches.resume(NAME, "")
    await gateway.reconciler.step()
    await world.step_trainers(gateway)
    held = await gateway.records.runs.get_uid("u0")
    assert held.attempt_open
    assert held.launch_uid != old.uid

    async def read_before(_uid: str) -> Sequence[RunRecord]:
        return stale

    monkeypatch.setattr(late.records.launches, "unfinished", read_before)
    stopping = replace(old, state=LaunchState.STOPPING)
    await late.reconciler._launching._finish_stopping(stopping, None)
    assert await gateway.records.runs.get_uid("u0") == held
    await late.close()


async def test_a_replica_that_wakes_late_overwrites_no_output(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk of fewer entries, stored after a longer one, leaves what the records name whole."""
    await in_batch(gateway)
    await gateway.reconciler.step()
    for _ in range(2):
        await world.step_trainers(gateway)
    late = Gateway(world, Faults())
    stale = await late.records.events.log("u0", (1, 0), 10)
    await world.step_trainers(gateway)
    await gateway.housekeeping._archive_one("u0", 1)
    (chunk,) = await gateway.records.events.chunks("u0", (0, 0))
    assert (chunk.first, chunk.last) == (1, 2)
    stored = world.store.objects[chunk.file.key]
    reads = [stale, []]

    async def read_before(_uid: str, _after: tuple[int, int], _limit: int) -> Sequence[Event]:
        return reads.pop(0)

    monkeypatch.setattr(late.records.events, "log", read_before)
    await late.housekeeping._archive_one("u0", 1)
    assert world.store.objects[chunk.file.key] == stored
    assert await gateway.records.events.chunks("u0", (0, 0)) == [chunk]
    await late.close()


async def test_launches_are_made_side_by_side(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that answers slowly holds up a few launches at a time, not one after the other."""
    for i in range(8):
        await gateway.records.runs.create(a_run(f"one-{i}", spec=SPEC))
    launch, together, gate = world.launcher.launch, 0, asyncio.Event()

    async def slow(wanted: object) -> None:
        nonlocal together
        together += 1
        if together == 8:
            gate.set()
        await asyncio.wait_for(gate.wait(), 5)
        await launch(wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(world.launcher, "launch", slow)
    await gateway.reconciler.step()
    assert len(world.launcher.started) == 8


async def test_cancelling_a_batch_keeps_what_its_runs_did(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was trained stays trained; what an attempt left that nobody needs is doomed."""
    monkeypatch.setattr(gateway.analysis, "take", lambda _run: None)
    await in_batch(gateway, 3)
    await gateway.records.runs.change("u2", lambda run: replace(run, launch_uid="none"))
    await gateway.reconciler.step()
    for _ in range(2):
        await world.step_trainers(gateway)
    now = world.clock.now()
    file = FileRecord("model.keras", "k", 1, "0" * 64)
    await gateway.records.runs.change("u1", lambda run: trained(run, (file,), b"", (), now))
    await gateway.batches.suspend(NAME, "")
    for _ in range(2):
        await gateway.reconciler.step()
    await gateway.batches.cancel(NAME, "")
    begun, analyzed, untouched = [
        await gateway.records.runs.get_uid(uid) for uid in ("u0", "u1", "u2")
    ]
    assert {run.state for run in (begun, analyzed, untouched)} == {RunState.CANCELLED}
    assert analyzed.stage(StageKind.TRAIN).state is StageState.SUCCEEDED
    assert analyzed.artifacts == (file,)
    assert begun.stage(StageKind.TRAIN).state is StageState.SKIPPED
    doomed = await gateway.records.keeping.doomed(now, 10)
    assert [p for p in doomed if "/attempts/" in p] == [f"{begun.prefix}/attempts/1/"]
