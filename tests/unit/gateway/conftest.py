"""A world that outlives gateways, and one gateway in it that does not die by itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate

from tests.fakes.faults import Faults
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path, 0)
    migrate.upgrade(made.url)
    await made.begin()
    return made


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Gateway]:
    made = Gateway(world, Faults())
    yield made
    await made.close()
