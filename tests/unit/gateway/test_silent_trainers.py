"""Trainers that are not heard: which of them are ended, and what it costs whom."""

from dataclasses import replace

import pytest
from linnet_gateway.records import BatchRecord, LaunchState, RunRecord
from linnet_gateway.states import BatchState, FailureReason, RunState
from linnet_runtime.errors import Unavailable

from tests.fakes.faults import Faults
from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import T0, a_run

SPEC = a_spec(2).SerializeToString()


async def in_training(world: World, gateway: Gateway, count: int) -> list[RunRecord]:
    """Make a batch with a run a shard, and let each trainer report once."""
    batch = BatchRecord("b1", "demo", "b", T0, BatchState.FILLING, shard_size=1, parallelism=count)
    await gateway.records.batches.create(batch)
    members = [
        a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i, spec=SPEC) for i in range(count)
    ]
    await gateway.records.batches.add("b1", members, 0)
    await gateway.records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    await gateway.reconciler.step()
    for _ in range(2):
        await world.step_trainers(gateway)
    runs = [await gateway.records.runs.get_uid(run.uid) for run in members]
    assert [run.state for run in runs] == [RunState.TRAINING] * count
    return runs


async def pass_time(world: World, gateway: Gateway, seconds: int, *, besides: int = -1) -> None:
    """Let time pass for a gateway that looks every five seconds; trainers report, but for one."""
    for _ in range(0, seconds, 5):
        world.clock.move(5.0)
        for place, trainer in world.trainers.items():
            if place[1] != besides:
                trainer.epoch = 1
                await trainer.step(gateway)
        await gateway.reconciler.step()


async def test_a_silent_trainer_costs_its_neighbours_nothing(
    world: World, gateway: Gateway
) -> None:
    """Only its own process is ended, its run is tried again in the same launch, others go on."""
    first, silent = await in_training(world, gateway, 2)
    await pass_time(world, gateway, 70, besides=1)
    lost = await gateway.records.runs.get_uid(silent.uid)
    assert (lost.attempt_open, lost.lost_count, lost.launch_uid) == (False, 1, first.launch_uid)
    other = await gateway.records.runs.get_uid(first.uid)
    assert (other.attempt, other.attempt_open, other.trainer) == (1, True, first.trainer)
    (launch,) = await gateway.records.launches.live()
    assert launch.state is LaunchState.LAUNCHED
    await world.step_trainers(gateway)
    again = await gateway.records.runs.get_uid(silent.uid)
    assert (again.attempt, again.launch_count) == (2, 1)
    assert again.trainer != silent.trainer


async def test_nobody_is_charged_for_a_gateway_that_was_away(
    world: World, gateway: Gateway
) -> None:
    """After ten minutes without a gateway trainers have a heartbeat's time to be heard again."""
    (run,) = await in_training(world, gateway, 1)
    await gateway.close()
    world.clock.move(600.0)
    later = Gateway(world, Faults())
    await pass_time(world, later, 50, besides=0)
    found = await later.records.runs.get_uid(run.uid)
    assert (found.attempt_open, found.lost_count, found.trainer) == (True, 0, run.trainer)
    await pass_time(world, later, 20, besides=0)
    found = await later.records.runs.get_uid(run.uid)
    assert (found.attempt_open, found.lost_count) == (False, 1)
    await later.close()


async def test_a_clock_that_jumps_is_no_silence(world: World, gateway: Gateway) -> None:
    """Nor are records that could not be reached for longer than a trainer may be silent."""
    (run,) = await in_training(world, gateway, 1)
    await pass_time(world, gateway, 70)
    world.clock.move(3600.0)
    await gateway.reconciler.step()
    found = await gateway.records.runs.get_uid(run.uid)
    assert (found.attempt_open, found.lost_count) == (True, 0)


async def test_a_run_that_hangs_each_time_fails_alone(world: World, gateway: Gateway) -> None:
    """After three silent trainers its run has failed; the launch and its other run are as ever."""
    first, hangs = await in_training(world, gateway, 2)
    for _ in range(3):
        await pass_time(world, gateway, 80, besides=1)
        for _ in range(2):
            await world.step_trainers(gateway)
    lost = await gateway.records.runs.get_uid(hangs.uid)
    assert lost.state is RunState.FAILED
    assert lost.failure is not None
    assert lost.failure.reason is FailureReason.HEARTBEAT_LOST
    other = await gateway.records.runs.get_uid(first.uid)
    assert (other.attempt, other.lost_count, other.launch_count) == (1, 0, 1)


async def test_the_end_of_an_old_stream_frees_no_shard(world: World, gateway: Gateway) -> None:
    """A trainer that came back holds its shard, whenever its broken stream is noticed to be one."""
    await in_training(world, gateway, 1)
    (trainer,) = world.trainers.values()
    assert trainer.assignment is not None
    claim = gateway.runner.run_of(trainer.assignment.run_token)
    broken = await gateway.runner.open_attempt(claim)
    living = await gateway.runner.open_attempt(claim)
    gateway.runner.close_attempt(broken)
    launch = gateway.runner.launch_of(trainer.token)
    with pytest.raises(Unavailable) as refused:
        await gateway.runner.acquire(launch, 0, "another")
    assert refused.value.reason == "SHARD_BUSY"
    gateway.runner.close_attempt(living)
    found = await gateway.runner.acquire(launch, 0, "another")
    assert found is not None
    assert found.attempt == 2


async def test_a_trainer_of_another_replica_keeps_its_shard(world: World, gateway: Gateway) -> None:
    """Who is connected there is not seen here: what it reported says that it is at work."""
    (run,) = await in_training(world, gateway, 1)
    (trainer,) = world.trainers.values()
    other = Gateway(world, Faults())
    launch = other.runner.launch_of(trainer.token)
    with pytest.raises(Unavailable) as refused:
        await other.runner.acquire(launch, 0, "another")
    assert refused.value.reason == "SHARD_BUSY"
    kept = await other.records.runs.get_uid(run.uid)
    assert (kept.attempt, kept.attempt_open, kept.trainer) == (1, True, run.trainer)
    world.clock.move(13.0)
    found = await other.runner.acquire(launch, 0, "another")
    assert found is not None
    assert found.attempt == 2
    await other.close()
