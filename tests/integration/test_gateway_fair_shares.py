"""Projects share what runs at once, however much one of them has queued."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from linnet_gateway import transitions
from linnet_gateway.launches.fairness import ShardLimits
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.states import BatchState

from tests.fakes.faults import Faults
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import FAILURE, T0, a_run

QUEUED = 10_000
LIMITS = ShardLimits(total=6, per_project=4)


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Gateway]:
    made = Gateway(world, Faults(), LIMITS)
    yield made
    await made.close()


async def queue_many(gateway: Gateway, project: str, count: int) -> None:
    """Queue single runs in bulk: as a batch is stored, but belonging to none."""
    await gateway.records.batches.create(
        BatchRecord("bulk", project, "bulk", T0, BatchState.FILLING)
    )
    runs = [a_run(f"{project}-{i}", project=project) for i in range(count)]
    await gateway.records.batches.add("bulk", runs, 0)


def launched(world: World, project: str) -> int:
    """Count the shards of a project that run."""
    return sum(
        status.state.name == "RUNNING"
        for uid, launch in world.launcher.launches.items()
        if launch.project == project
        for status in world.launcher.shards[uid]
    )


async def test_ten_thousand_queued_runs_starve_nobody(world: World, gateway: Gateway) -> None:
    """A run of another project, asked for last, is launched in the first step that sees it."""
    await queue_many(gateway, "greedy", QUEUED)
    await gateway.reconciler.step()
    assert launched(world, "greedy") == LIMITS.per_project
    await gateway.records.runs.create(a_run("late", project="modest", create_time=T0))
    await gateway.reconciler.step()
    assert launched(world, "modest") == 1
    assert launched(world, "greedy") == LIMITS.per_project


async def test_a_full_house_gives_its_next_place_to_who_has_none(
    world: World, gateway: Gateway
) -> None:
    """Where all places are taken, the first that comes free is the other project's."""
    for project in ("one", "two"):
        for i in range(LIMITS.total):
            await gateway.records.runs.create(a_run(f"{project}-{i}", project=project))
    await gateway.reconciler.step()
    assert (launched(world, "one"), launched(world, "two")) == (3, 3)
    await gateway.records.runs.create(a_run("late", project="three"))
    await gateway.reconciler.step()
    assert launched(world, "three") == 0
    uid = next(uid for uid, launch in world.launcher.launches.items() if launch.project == "one")
    (run,) = await gateway.records.launches.unfinished(uid)
    await gateway.records.runs.change(run.uid, ended)
    world.launcher.finish(uid, 0, 0)
    await gateway.reconciler.step()
    assert launched(world, "three") == 1
    assert (launched(world, "one"), launched(world, "two")) == (2, 3)


def ended(run: RunRecord) -> RunRecord:
    """Let a run fail, so that nothing is left to do for it."""
    return transitions.fail(run, FAILURE, T0)


async def test_priorities_order_a_project(world: World, gateway: Gateway) -> None:
    """Of one project the highest priority is launched first, then what was asked for first."""
    for i, priority in enumerate((0, 0, 5, 1, 5, 2, 1)):
        at = T0 + timedelta(seconds=i)
        await gateway.records.runs.create(
            a_run(f"r{i}", project="p", priority=priority, create_time=at)
        )
    await gateway.reconciler.step()
    running = {
        run.uid
        for uid in world.launcher.launches
        for run in await gateway.records.launches.unfinished(uid)
    }
    assert running == {"r2", "r4", "r5", "r3"}
