"""Wherever a gateway dies, every acknowledged run ends exactly once and nothing is left behind.

The seeds choose the point of death among all that a scenario of single runs and a batch crosses:
submit, launch, hand out, progress, finish, evaluate, cancel, crash of a trainer, housekeeping. A
seed that fails here fails again: `pytest -k "seed-17"`.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate

from tests.fakes.faults import Faults
from tests.fakes.gateway import PARENT
from tests.fakes.lasting_world import World
from tests.support.kill_scenario import Scenario, play

SEEDS = 125
POINTS = 250
"""Points that the scenario crosses without a fault; the first test holds this true."""
PHASES = {"submit", "launch", "progress", "finish", "evaluate", "cancel", "batch", "housekeeping"}
"""What gateways do when seeds kill them; each is among what the first test crosses."""
SCENARIO = Scenario()
ENDING = Scenario(steps=("one", "batch", "two", "three", "cancel-batch", "cancel", "delete"))
ENDING_SEEDS = 30
ENDING_POINTS = 200


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


def kill_at(seed: int) -> int:
    """Give the point at which a seed kills: all of them together are spread over the scenario."""
    return 1 + seed * (POINTS - 1) // (SEEDS - 1)


def folders_in(folder: Path) -> Iterator[Path]:
    """Make new folders, as many as are asked for."""
    for number in itertools.count():
        (made := folder / f"{number}").mkdir()
        yield made


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
    await play(world, [faults], SCENARIO)
    assert faults.points >= POINTS
    killed = {faults.crossed[kill_at(seed) - 1] for seed in range(SEEDS)}
    assert killed == PHASES


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed-{seed}")
async def test_a_gateway_killed_at_any_point(migrated: Path, tmp_path: Path, seed: int) -> None:
    """The next gateway finishes what the dead one began, once."""
    world = await world_of(migrated, tmp_path, seed)
    await play(world, [Faults(kill_at=kill_at(seed))], SCENARIO)


async def test_a_batch_is_cancelled_and_a_run_deleted(migrated: Path, tmp_path: Path) -> None:
    """Without a fault: the batch's trainers stop, and of the run no record or object stays."""
    world = await world_of(migrated, tmp_path, 0)
    faults = Faults()
    await play(world, [faults], ENDING)
    assert faults.points >= ENDING_POINTS
    assert {"cancel", "delete"} <= set(faults.crossed)


@pytest.mark.parametrize("seed", range(ENDING_SEEDS), ids=lambda seed: f"seed-{seed}")
async def test_a_gateway_killed_while_runs_are_cancelled_and_deleted(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """What was cancelled or deleted stays so, with nothing left behind; the rest succeeds."""
    world = await world_of(migrated, tmp_path, seed)
    point = 1 + seed * (ENDING_POINTS - 1) // (ENDING_SEEDS - 1)
    await play(world, [Faults(kill_at=point)], ENDING)


@pytest.mark.parametrize("doing", ["cancel", "delete"])
async def test_a_gateway_killed_in_the_act(migrated: Path, tmp_path: Path, doing: str) -> None:
    """At each point of cancelling and deleting itself."""
    folders = folders_in(tmp_path)
    faults = Faults()
    await play(await world_of(migrated, next(folders), 0), [faults], ENDING)
    points = [number for number, at in enumerate(faults.crossed, 1) if at == doing]
    assert len(points) >= 2
    for point in points:
        world = await world_of(migrated, next(folders), 0)
        await play(world, [Faults(kill_at=point)], ENDING)


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_a_store_that_fails_three_calls_in_ten(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """Calls that fail, and answers that are lost after the call took effect, lose no run."""
    world = await world_of(migrated, tmp_path, seed)
    world.crashes = {}
    faults = Faults(kill_at=40 + 17 * seed, store_failures=0.3)
    faults.chance.seed(seed)
    await play(world, [faults], SCENARIO)


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_answers_that_are_lost_after_the_commit(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """Whoever asks again for what had happened already gets it, once."""
    world = await world_of(migrated, tmp_path, seed)
    world.crashes = {}
    faults = Faults(kill_at=40 + 17 * seed, lost_answers=0.2)
    faults.chance.seed(seed)
    await play(world, [faults], SCENARIO)


@pytest.mark.parametrize("seed", range(3), ids=lambda seed: f"seed-{seed}")
async def test_a_launcher_that_is_down(migrated: Path, tmp_path: Path, seed: int) -> None:
    """While nothing can be launched runs are accepted and wait; none fails for it."""
    world = await world_of(migrated, tmp_path, seed)
    await play(world, [Faults()], SCENARIO, down=range(2 + seed, 30))


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
async def test_two_gateways_that_both_think_they_lead(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """A leader that wakes after its lease expired does no harm: launches and runs stay single."""
    world = await world_of(migrated, tmp_path, seed)
    await play(world, [Faults(), Faults(kill_at=30 + 20 * seed)], SCENARIO)
    started = [place for place in world.launcher.started if place[1] == 0]
    assert len(started) <= len(set(started)) + 2  # each of the two crashes starts a shard again
