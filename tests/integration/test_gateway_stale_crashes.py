"""What ended one trainer of a shard is never charged to what the next one does."""

from __future__ import annotations

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
    from pathlib import Path

    from linnet.v1 import runner_service_pb2


class Shard:
    """The one shard of a run's launch; its trainers ask the replica that does not lead."""

    def __init__(self, world: World, replica: Gateway, uid: str) -> None:
        self.world = world
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

    async def charged(self) -> int:
        """Count the attempts that the run lost."""
        return (await self.replica.records.runs.get("demo", "one")).lost_count


@pytest.mark.parametrize("launcher", ["fake", "kubernetes"])
async def test_an_end_is_charged_to_the_trainer_that_ended_alone(
    launcher: str, tmp_path: Path
) -> None:
    """A trainer that asks again, for it got no answer, costs nothing, whatever ended the last one.

    The replica that is asked does not lead, and tells each end by its reason.
    """
    migrate.upgrade(f"sqlite:///{tmp_path / 'records.db'}")
    async with AsyncExitStack() as stack:
        if launcher == "fake":
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
        shard = Shard(world, replica, launch.uid)

        assert await shard.asks() is not None
        await shard.ends(ExitCode.OUT_OF_MEMORY)
        assert await shard.asks() is not None
        assert await shard.charged() == 1
        for _ in range(5):
            assert await shard.asks() is not None
        assert await shard.charged() == 1
        # One that ends before it asks leaves the run to whoever had it.
        await shard.ends(ExitCode.CRASHED)
        await shard.ends(ExitCode.OUT_OF_MEMORY)
        assert await shard.asks() is not None
        run = await replica.records.runs.get("demo", "one")
        assert run.lost_count == 2
        assert run.state is RunState.STARTING

        await shard.ends(ExitCode.CRASHED)
        await leader.reconciler.step()
        run = await replica.records.runs.get("demo", "one")
        assert run.state is RunState.FAILED
        assert run.failure is not None
        assert run.failure.reason is FailureReason.TRAINER_CRASHED
