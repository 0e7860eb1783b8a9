"""Wherever a gateway dies, every acknowledged run ends exactly once and nothing is left behind.

The seeds choose the point of death among all that a scenario of single runs and a batch crosses:
submit, launch, hand out, progress, finish, evaluate, cancel, crash of a trainer, housekeeping. A
seed that fails here fails again: `pytest -k "seed-17"`.
"""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import EventKind
from linnet_gateway.sql import migrate
from linnet_gateway.states import RunState
from linnet_runtime.errors import LinnetError, NotAllowedInState
from linnet_runtime.ids import parse_name

from tests.fakes.faults import Faults, Killed
from tests.fakes.gateway import PARENT, a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import EPOCHS, World
from tests.support.run_promises import foreign_keys, gaps, lost_attempts_keys

SEEDS = 125
POINTS = 250
"""Points that the scenario crosses without a fault; the first test holds this true."""
ROUNDS = 400
PHASES = {"submit", "launch", "progress", "finish", "evaluate", "cancel", "batch", "housekeeping"}
"""What gateways do when seeds kill them; each is among what the first test crosses."""
RUNS = ("one", "two", "three")
BATCH_RUNS = 4


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


def kill_at(seed: int) -> int:
    """Give the point at which a seed kills: all of them together are spread over the scenario."""
    return 1 + seed * (POINTS - 1) // (SEEDS - 1)


class Client:
    """Submits, and repeats what was not acknowledged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.todo = [*RUNS, "batch", "cancel"]

    async def step(self, gateway: Gateway) -> None:
        if not self.todo:
            return
        what = self.todo[0]
        gateway.faults.doing = what if what in {"batch", "cancel"} else "submit"
        try:
            await self._do(gateway, self.todo[0])
        except LinnetError:
            return
        self.todo.pop(0)

    async def _do(self, gateway: Gateway, what: str) -> None:
        if what == "cancel":
            try:
                await gateway.runs.cancel(parse_name(f"{PARENT}/runs/two", "runs"), "")
            except NotAllowedInState:
                return
        elif what == "batch":
            async for _, count in gateway.filling.create(self._chunks()):
                self.world.acknowledged |= {f"batch-{place}" for place in range(count)}
        else:
            run = run_pb2.Run(spec=a_spec(EPOCHS))
            await gateway.runs.create("demo", what, run, f"request-{what}")
            self.world.acknowledged.add(what)

    async def _chunks(self) -> AsyncIterator[pb.CreateBatchRequest]:
        batch = batch_pb2.Batch(shard_size=2, parallelism=2)
        header = pb.BatchHeader(parent=PARENT, batch_id="batch", request_id="b", batch=batch)
        yield pb.CreateBatchRequest(header=header)
        # The answer to the header says what is stored: an acknowledgement may have been lost.
        done = sum(name.startswith("batch-") for name in self.world.acknowledged)
        for place in range(done, BATCH_RUNS, 2):
            runs = [run_pb2.Run(spec=a_spec(EPOCHS)) for _ in range(min(2, BATCH_RUNS - place))]
            yield pb.CreateBatchRequest(runs=runs)
        yield pb.CreateBatchRequest(complete=True)


async def rounds(world: World, faults: list[Faults], *, down: range = range(0)) -> None:
    """Let client, gateways and trainers act in turn until everything has ended."""
    client = Client(world)
    lives = [Gateway(world, fault) for fault in faults]
    quiet = 0
    for number in range(ROUNDS):
        world.launcher.down = number in down
        world.clock.move(2.0)
        for place, gateway in enumerate(lives):
            try:
                await client.step(gateway)
                gateway.faults.doing = "launch"
                await gateway.reconciler.step()
                await world.step_trainers(gateway)
                gateway.faults.doing = "housekeeping"
                if number % 3 == 0:
                    await gateway.housekeeping.round()
            except Killed:
                pass
            if gateway.faults.dead:
                await gateway.close()
                faults[place].kill_at, faults[place].dead = 0, False
                lives[place] = Gateway(world, faults[place])
        idle = not client.todo and not world.launcher.shards and not lives[0].analysis.active
        quiet = quiet + 1 if idle else 0
        if quiet >= 5:
            break
    for fault in faults:
        fault.kill_at = 0
    await check(world, lives[0])
    for gateway in lives:
        await gateway.close()


async def check(world: World, gateway: Gateway) -> None:
    """Hold every invariant."""
    for _ in range(3):
        world.clock.move(60.0)
        await gateway.reconciler.step()
        await gateway.housekeeping.round()
    found = await gateway.records.runs.list("demo", Page(100), RunFilter())
    singles = [run for run in found if run.batch_uid is None]
    members = sorted(run.batch_index for run in found if run.batch_uid is not None)
    assert {run.id for run in singles} == set(RUNS)
    assert members == list(range(BATCH_RUNS))
    for run in found:
        allowed = {RunState.SUCCEEDED}
        if run.id == "two":
            allowed.add(RunState.CANCELLED)
        assert run.state in allowed, run
        assert not run.attempt_open
        if run.state is RunState.SUCCEEDED:
            await check_result(world, gateway, run.uid)
    assert world.launcher.shards == {}
    assert list(await gateway.records.launches.live()) == []
    assert foreign_keys(world.store.objects, (run.prefix for run in found)) == []


async def check_result(world: World, gateway: Gateway, uid: str) -> None:
    """Everything that a run promises is there, and its output has no gap."""
    run = await gateway.records.runs.get_uid(uid)
    for file in run.artifacts:
        assert len(world.store.objects[file.key]) == file.size_bytes
    assert lost_attempts_keys(world.store.objects, run.prefix, run.attempt) == []
    sequences: list[int] = []
    for chunk in await gateway.records.events.chunks(uid, (run.attempt, 0)):
        sequences += range(chunk.first, chunk.last + 1)
    for event in await gateway.records.events.log(uid, (run.attempt, 0), 100):
        assert event.kind is EventKind.LOG
        sequences += range(event.first, event.last + 1)
    assert gaps(sequences) == []
    assert len(sequences) == EPOCHS


async def world_of(migrated: Path, folder: Path, seed: int) -> World:
    shutil.copy(migrated, folder / "records.db")
    world = World(folder, seed)
    # One trainer crashes and one is killed for memory, each in its first attempt.
    world.crashes = {(f"{PARENT}/runs/one", 1): 1, (f"{PARENT}/runs/three", 1): 137}
    await world.begin()
    return world


async def test_without_a_fault_everything_ends(migrated: Path, tmp_path: Path) -> None:
    """The scenario itself ends well, and crosses as many points as the seeds choose from."""
    world = await world_of(migrated, tmp_path, 0)
    faults = Faults()
    await rounds(world, [faults])
    assert faults.points >= POINTS
    killed = {faults.crossed[kill_at(seed) - 1] for seed in range(SEEDS)}
    assert killed == PHASES


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed-{seed}")
async def test_a_gateway_killed_at_any_point(migrated: Path, tmp_path: Path, seed: int) -> None:
    """The next gateway finishes what the dead one began, once."""
    world = await world_of(migrated, tmp_path, seed)
    await rounds(world, [Faults(kill_at=kill_at(seed))])


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_a_store_that_fails_three_calls_in_ten(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """Calls that fail, and answers that are lost after the call took effect, lose no run."""
    world = await world_of(migrated, tmp_path, seed)
    world.crashes = {}
    faults = Faults(kill_at=40 + 17 * seed, store_failures=0.3)
    faults.chance.seed(seed)
    await rounds(world, [faults])


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_answers_that_are_lost_after_the_commit(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """Whoever asks again for what had happened already gets it, once."""
    world = await world_of(migrated, tmp_path, seed)
    world.crashes = {}
    faults = Faults(kill_at=40 + 17 * seed, lost_answers=0.2)
    faults.chance.seed(seed)
    await rounds(world, [faults])


@pytest.mark.parametrize("seed", range(3), ids=lambda seed: f"seed-{seed}")
async def test_a_launcher_that_is_down(migrated: Path, tmp_path: Path, seed: int) -> None:
    """While nothing can be launched runs are accepted and wait; none fails for it."""
    world = await world_of(migrated, tmp_path, seed)
    await rounds(world, [Faults()], down=range(2 + seed, 30))


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_two_gateways_that_both_think_they_lead(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """A leader that wakes after its lease expired does no harm: launches and runs stay single."""
    world = await world_of(migrated, tmp_path, seed)
    await rounds(world, [Faults(), Faults(kill_at=30 + 20 * seed)])
    started = [place for place in world.launcher.started if place[1] == 0]
    assert len(started) <= len(set(started)) + 2  # each of the two crashes starts a shard again
