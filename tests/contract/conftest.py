"""Records on SQLite and on PostgreSQL (where Debian's server is installed)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from sqlalchemy import create_engine, text

from tests.fakes import postgres
from tests.fakes.records import Time


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give a running PostgreSQL, one for all tests."""
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.running_postgres() as url:
        yield url


def fresh(url: str) -> None:
    """Empty a PostgreSQL database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    found: str = request.getfixturevalue("postgres_url")
    fresh(found)
    return found


@pytest.fixture
def time() -> Time:
    """Give a clock that tests move."""
    return Time()


@pytest.fixture
async def records(url: str, time: Time) -> AsyncIterator[Records]:
    """Give records in an empty database."""
    migrate.upgrade(url)
    made = Records(url, time)
    yield made
    made.close()
