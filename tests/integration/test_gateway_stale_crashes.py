"""What ended one trainer of a shard is never charged to what the next one does."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from linnet.v1 import run_pb2
from linnet_gateway.sql import migrate
from linnet_gateway.states import FailureReason, RunState
from linnet_runtime.lifecycle import ExitCode

from tests.fakes.apiserver import listening
from tests.fakes.clock import ManualClock
from tests.fakes.cluster_world import ClusterWorld
from tests.fakes.faults import Faults
from tests.fakes.gateway import a_spec
from tests.fakes.job_cluster import JobCluster
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from linnet.v1 import runner_service_pb2
    from linnet_gateway.records import RunRecord


class Shard:
    """The one shard of a run's launch; its trainers ask the replica that does not lead."""

    def __init__(self, world: World, leader: Gateway, replica: Gateway, uid: str) -> None:
        self.world = world
        self.leader = leader
        self.replica = replica
        self.uid = uid

    async def asks(self) -> runner_service_pb2.Assignment | None:
        """Let the living trainer ask for work, under the name that its launcher gave it."""
        claim = self.replica.runner.launch_of(self.world.token_of(self.uid))
        name = self.world.name_of(self.uid, 0)
        return await self.replica.runner.acquire(claim, 0, name)

    async def ends(self, code: int) -> None:
        """End the living trainer; the platform starts the next one."""
        await self.world.end_trainer(self.uid, 0, code)
        await self.world.turn()
        # Longer than the copy of a cluster's Jobs counts as fresh without a watch.
        self.world.clock.move(1)

    async def run(self) -> RunRecord:
        """Read the run."""
        return await self.replica.records.runs.get("demo", "one")


@pytest.fixture(params=["fake", "kubernetes"])
async def shard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shard]:
    """A shard whose first trainer runs, on either launcher."""
    migrate.upgrade(f"sqlite:///{tmp_path / 'records.db'}")
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            world = World(tmp_path, 0)
        else:
            clock = ManualClock()
            cluster = JobCluster(clock)
            await stack.enter_async_context(listening(cluster))
            world = ClusterWorld(tmp_path, 0, cluster)
            world.clock = clock
        await world.begin()
        leader, replica = Gateway(world, Faults()), Gateway(world, Faults())
        stack.push_async_callback(leader.close)
        stack.push_async_callback(replica.close)
        await leader.runs.create("demo", "one", run_pb2.Run(spec=a_spec(2)), "")
        await leader.reconciler.step()
        await world.turn()
        (launch,) = await leader.records.launches.live()
        yield Shard(world, leader, replica, launch.uid)


async def test_an_end_is_charged_to_the_trainer_that_ended_alone(shard: Shard) -> None:
    """A trainer that asks again, for it got no answer, costs nothing, whatever ended the last one.

    The replica that is asked does not lead, and tells each end by its reason.
    """
    assert await shard.asks() is not None
    await shard.ends(ExitCode.OUT_OF_MEMORY)
    assert await shard.asks() is not None
    assert (await shard.run()).lost_count == 1
    for _ in range(5):
        assert await shard.asks() is not None
    assert (await shard.run()).lost_count == 1
    # One that ends before it asks leaves the run to whoever had it.
    await shard.ends(ExitCode.CRASHED)
    await shard.ends(ExitCode.OUT_OF_MEMORY)
    assert await shard.asks() is not None
    run = await shard.run()
    assert (run.lost_count, run.state) == (2, RunState.STARTING)

    await shard.ends(ExitCode.CRASHED)
    await shard.leader.reconciler.step()
    run = await shard.run()
    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is FailureReason.TRAINER_CRASHED


async def test_a_shard_that_fails_tells_each_run_what_ended_its_own_trainer(shard: Shard) -> None:
    """Trainers that never had the run use the shard's tries up: its own was killed for memory."""
    assert await shard.asks() is not None
    await shard.ends(ExitCode.OUT_OF_MEMORY)
    for _ in range(3):
        await shard.ends(ExitCode.CRASHED)
    await shard.leader.reconciler.step()
    run = await shard.run()
    assert (run.lost_count, run.state) == (1, RunState.QUEUED)
    assert re.search("memory|exit code 137", run.waiting)
