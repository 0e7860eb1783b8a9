"""Wherever a gateway dies while it launches on Kubernetes, nothing is lost, doubled or left over.

The launcher is the real one, over HTTP: seeds choose the request around which the gateway dies,
among all that make a suspended Job, its Secret, start the Job, or take it away. A batch is
suspended, resumed, and what failed of it retried. The same on PostgreSQL, by transactions.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate
from sqlalchemy import create_engine, make_url, text

from tests.fakes import postgres
from tests.fakes.apiserver import listening
from tests.fakes.clock import ManualClock
from tests.fakes.cluster_world import ClusterWorld
from tests.fakes.faults import Faults
from tests.fakes.gateway import PARENT
from tests.fakes.job_cluster import JobCluster
from tests.support.kill_scenario import Scenario, play

SEEDS = 22
"""Requests that change something and that the scenario makes without a fault, at least."""
POSTGRES_SEEDS = 6
POINTS = 250
"""Other points that it crosses, at least."""
REQUESTS = ("POST jobs", "POST secrets", "PATCH jobs", "DELETE jobs")
SCENARIO = Scenario(
    runs=("one", "two"),
    steps=("one", "two", "batch", "suspend", "resume", "cancel", "retry"),
    failing=frozenset({1}),
)


def kill_at_call(seed: int) -> int:
    """Give the point at which a seed kills: before or after a request of its own, in turn."""
    return 1 + 2 * seed + seed % 2


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server, with a migrated database from which others are made."""
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.running_postgres() as url:
        _administrate(url, "CREATE DATABASE migrated")
        migrate.upgrade(_database(url, "migrated"))
        yield url


@pytest.fixture
def postgres_url(server: str, request: pytest.FixtureRequest) -> str:
    """Name a migrated database of the test's own."""
    name = f"seed_{request.node.callspec.params['seed']}"
    _administrate(server, f"CREATE DATABASE {name} TEMPLATE migrated")
    return _database(server, name)


def _database(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _administrate(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@asynccontextmanager
async def world_of(folder: Path, seed: int, url: str = "") -> AsyncIterator[ClusterWorld]:
    """Make a world, and hold at the end that nothing is left in its cluster."""
    clock = ManualClock()
    cluster = JobCluster(clock)
    async with listening(cluster):
        world = ClusterWorld(folder, seed, cluster, url)
        world.clock = clock
        world.fails = SCENARIO.failing
        # One trainer is killed for memory, in its first attempt.
        world.crashes = {(f"{PARENT}/runs/one", 1): 137}
        await world.begin()
        yield world
        await world.check_cluster()


async def test_without_a_fault_everything_ends(migrated: Path, tmp_path: Path) -> None:
    """The scenario itself ends well, and crosses as many points as the seeds choose from."""
    shutil.copy(migrated, tmp_path / "records.db")
    faults = Faults()
    async with world_of(tmp_path, 0) as world:
        await play(world, [faults], SCENARIO)
    assert len(faults.calls) >= 2 * SEEDS
    assert faults.points >= POINTS
    assert set(faults.calls) == {
        f"{when} {call}" for call in REQUESTS for when in ("before", "after")
    }


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed-{seed}")
async def test_a_gateway_killed_around_any_request(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """The next gateway makes what is missing of a launch, or takes away what is left of it."""
    shutil.copy(migrated, tmp_path / "records.db")
    faults = Faults(kill_at_call=kill_at_call(seed))
    async with world_of(tmp_path, seed) as world:
        await play(world, [faults], SCENARIO)


@pytest.mark.parametrize("seed", range(POSTGRES_SEEDS), ids=lambda seed: f"seed-{seed}")
async def test_gateways_on_postgresql_killed_at_any_point(
    postgres_url: str, tmp_path: Path, seed: int
) -> None:
    """The same by transactions of the other database, each second time with two gateways."""
    faults = [Faults(kill_at=1 + seed * (POINTS - 1) // (POSTGRES_SEEDS - 1))]
    if seed % 2:
        faults.append(Faults())
    async with world_of(tmp_path, seed, postgres_url) as world:
        await play(world, faults, SCENARIO)


@pytest.mark.parametrize("seed", range(2), ids=lambda seed: f"seed-{seed}")
async def test_answers_of_the_api_server_that_are_lost(
    migrated: Path, tmp_path: Path, seed: int
) -> None:
    """What is asked again after it had happened already is found, not made twice."""
    shutil.copy(migrated, tmp_path / "records.db")
    faults = Faults(kill_at_call=kill_at_call(5 + 6 * seed), lost_calls=0.3)
    faults.chance.seed(seed)
    async with world_of(tmp_path, seed) as world:
        await play(world, [faults], SCENARIO)


async def test_an_api_server_that_is_down(migrated: Path, tmp_path: Path) -> None:
    """While nothing can be asked runs are accepted and wait; none fails for it."""
    shutil.copy(migrated, tmp_path / "records.db")
    async with world_of(tmp_path, 0) as world:
        await play(world, [Faults()], SCENARIO, down=range(2, 30))
