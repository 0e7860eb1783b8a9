"""What becomes of runs whose launch the launcher refuses."""

import pytest
from linnet_gateway.launches.launcher import CLUSTER_QUOTA, NoRoomYet, ShardState, ShardStatus
from linnet_gateway.records import RunRecord
from linnet_gateway.states import Failure, FailureReason, RunState
from linnet_runtime.errors import NotAllowedInState, QuotaExceeded, Unavailable

from tests.fakes.faults import Faults
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import a_run


async def read(gateway: Gateway, uid: str) -> RunRecord:
    return await gateway.records.runs.get_uid(uid)


async def test_a_launch_without_room_waits_and_holds_up_nobody(
    world: World, gateway: Gateway
) -> None:
    """Refused by a quota for now, a run says so, is charged nothing, and starts once it may."""
    world.launcher.refusals["full"] = NoRoomYet("a quota of the runs namespace: jobs=10")
    # More than are asked for in one step, and before the others.
    for i in range(12):
        await gateway.records.runs.create(a_run(f"full-{i}", project="full"))
    await gateway.records.runs.create(a_run("free", project="demo"))
    await gateway.reconciler.step()
    assert (await read(gateway, "free")).state is RunState.STARTING
    waits = await read(gateway, "full-0")
    assert (waits.state, waits.launch_count) == (RunState.QUEUED, 1)
    assert "jobs=10" in waits.waiting
    world.launcher.refusals.clear()
    await gateway.reconciler.step()
    starts = await read(gateway, "full-0")
    assert (starts.state, starts.waiting) == (RunState.STARTING, "")


async def test_a_quota_that_stays_full_ends_as_such(world: World, gateway: Gateway) -> None:
    """Refused for too long, and that for every launch that a run may have, it is QUOTA_EXCEEDED."""
    world.launcher.refusals["demo"] = QuotaExceeded("jobs=10", reason=CLUSTER_QUOTA)
    await gateway.records.runs.create(a_run("one"))
    await gateway.reconciler.step()
    assert (await read(gateway, "one")).state is RunState.QUEUED
    for _ in range(4):
        await gateway.reconciler.step()
    run = await read(gateway, "one")
    assert (run.state, run.launch_count) == (RunState.FAILED, 4)
    assert run.failure is not None
    assert run.failure.reason is FailureReason.QUOTA_EXCEEDED


@pytest.mark.parametrize(
    "refusal",
    [
        NotAllowedInState("scripts run only in a sandbox", reason="EXPERT_SANDBOX_MISSING"),
        QuotaExceeded("launch.memory_bytes: at most 1", reason="CEILING_EXCEEDED"),
    ],
)
async def test_what_is_never_launched_fails_once_and_says_why(
    world: World, gateway: Gateway, refusal: NotAllowedInState | QuotaExceeded
) -> None:
    """What this installation does not run is not tried again, and keeps the launcher's reason."""
    world.launcher.refusals["demo"] = refusal
    await gateway.records.runs.create(a_run("one"))
    await gateway.reconciler.step()
    run = await read(gateway, "one")
    assert (run.state, run.launch_count) == (RunState.FAILED, 1)
    assert run.failure is not None
    assert run.failure.reason is FailureReason.INVALID_SPEC
    assert run.failure.message == f"{refusal.reason}: {refusal.message}"


async def test_a_launch_that_runs_is_not_ended_by_limits_that_were_lowered(
    world: World, gateway: Gateway
) -> None:
    """A gateway that starts anew, and would not launch it any more, lets it go on."""
    await gateway.records.runs.create(a_run("one"))
    await gateway.reconciler.step()
    (running,) = world.launcher.launches
    world.launcher.refusals["demo"] = QuotaExceeded("at most 1", reason="CEILING_EXCEEDED")
    later = Gateway(world, Faults())
    for _ in range(3):
        await later.reconciler.step()
    run = await read(later, "one")
    await later.close()
    assert (run.state, run.launch_uid) == (RunState.STARTING, running)
    assert list(world.launcher.launches) == [running]


async def test_a_launch_deleted_while_it_is_made_is_made_again(
    world: World, gateway: Gateway
) -> None:
    """Gone before its record says that it began: the run goes on in another launch, at once."""
    world.launcher.refusals["demo"] = Unavailable("the launch's Job changed under the gateway")
    await gateway.records.runs.create(a_run("one"))
    await gateway.reconciler.step()
    first = (await read(gateway, "one")).launch_uid
    assert first is not None
    deleted = Failure(FailureReason.LAUNCH_DELETED, "the launch was deleted by someone else")
    world.launcher.shards[first] = [ShardStatus(0, ShardState.FAILED, deleted)]
    world.launcher.failures[first] = deleted
    world.launcher.refusals.clear()
    for _ in range(2):
        await gateway.reconciler.step()
    run = await read(gateway, "one")
    assert (run.state, run.launch_count) == (RunState.STARTING, 2)
    assert run.launch_uid != first
