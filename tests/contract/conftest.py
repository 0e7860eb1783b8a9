"""Records on SQLite and on PostgreSQL (where Debian's server is installed)."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate, schema
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
    """Name a database of each kind; PostgreSQL's has what the test before left."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def empty_url(url: str) -> str:
    """Name a database of each kind that has no tables."""
    if url.startswith("postgresql"):
        fresh(url)
    return url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite database with tables and no rows, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


def truncated(url: str) -> None:
    """Take all rows from a PostgreSQL database, migrated anew where it isn't at this release's."""
    if migrate.current(url) != migrate.HEAD:
        fresh(url)
        migrate.upgrade(url)
        return
    engine = create_engine(url)
    names = ", ".join(f'"{name}"' for name in schema.metadata.tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    engine.dispose()


@pytest.fixture
def time() -> Time:
    """Give a clock that tests move."""
    return Time()


@pytest.fixture
async def records(url: str, migrated: Path, time: Time) -> AsyncIterator[Records]:
    """Give records in a database without any."""
    if url.startswith("postgresql"):
        truncated(url)
    else:
        shutil.copy(migrated, url.removeprefix("sqlite:///"))
    made = Records(url, time)
    yield made
    made.close()
