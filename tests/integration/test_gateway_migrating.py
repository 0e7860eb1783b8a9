"""The schema, brought to this release by a command, and gateways that leave it to the command."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from linnet_gateway.sql import migrate
from linnet_gateway.sql.schema_version import require
from linnet_gateway.startup import reached
from linnet_runtime.errors import Unavailable
from linnet_runtime.s3 import S3Location

from tests.fakes import postgres
from tests.fakes.clock import ManualClock
from tests.fakes.gateway import settings_for, until
from tests.fakes.gateway_process import GatewayProcess
from tests.support.free_ports import free_port

FIRST = "0001"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.running_postgres() as found:
        yield found


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `linnet-gateway migrate` to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "linnet_gateway", "migrate", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_command_migrates_and_ends(url: str) -> None:
    """An empty database, an older and a present one: each ends at this release's schema."""
    done = command(LINNET_GATEWAY_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the schema was that of an empty database, it is {migrate.HEAD} now\n"
    assert migrate.current(url) == migrate.HEAD
    again = command("--database", url)
    assert again.stdout == f"the schema is {migrate.HEAD}: nothing to do\n"


def test_an_older_schema_is_brought_forward_by_many_at_once(url: str) -> None:
    """Commands that run at the same time, as when a hook is tried again, do it once."""
    migrate.upgrade(url, FIRST)
    words = [sys.executable, "-P", "-m", "linnet_gateway", "migrate", "--database", url]
    # SQLite has one gateway, so nobody migrates beside it.
    count = 1 if url.startswith("sqlite") else 3
    running = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    told = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0] * count, told
    assert migrate.current(url) == migrate.HEAD
    assert f"the schema was {FIRST}, it is {migrate.HEAD} now\n" in [out for out, _ in told]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "received none"),
        ("nonsense", "expected `sqlite:////path` or `postgresql+psycopg://"),
        ("mysql://u:hidden@127.0.0.1/x", "expected `sqlite:////path` or `postgresql+psycopg://"),
        ("sqlite:////no/such/folder/records.db", "a folder that can be written to"),
    ],
)
def test_a_url_that_names_no_database_is_refused_at_once(url: str, told: str) -> None:
    """Exit code 64, one line, and no password in it."""
    done = command(LINNET_GATEWAY_DATABASE_URL=url)
    assert done.returncode == 64
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_an_unknown_command_is_refused() -> None:
    """Nothing is served by a gateway that was meant to do something else."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "linnet_gateway", "migrates"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 64
    assert (
        done.stderr == "linnet-gateway: expected audit, migrate or nothing, received 'migrates'\n"
    )


async def test_a_gateway_waits_for_the_command(
    url: str, tmp_path: Path, s3_location: S3Location
) -> None:
    """Told not to migrate it says what it waits for, touches nothing, and serves afterwards."""
    migrate.upgrade(url, FIRST)
    more = {"database_url": url, "migrates": False}
    process = GatewayProcess(settings_for(tmp_path, s3_location, "127.0.0.1:1", **more), tmp_path)
    starting = asyncio.create_task(process.start())
    log = tmp_path / "gateway.log"

    async def told() -> bool:
        return log.exists() and "service_awaited" in log.read_text()

    try:
        await until(told, 60)
        assert f"expected {migrate.HEAD} or later, received {FIRST}" in log.read_text()
        assert migrate.current(url) == FIRST
        assert (await asyncio.to_thread(command, "--database", url)).returncode == 0
        await starting
        await process.stop()
    finally:
        await process.kill()
    assert process.exit_code == 0


async def test_a_gateway_on_an_older_schema_gives_up(url: str) -> None:
    """After a minute it is refused by name; a database that is away is another reason."""
    clock = ManualClock()
    with pytest.raises(Unavailable, match="received an empty database; `linnet-gateway mi") as old:
        await reached("database", partial(require, url), clock)
    assert old.value.reason == "SCHEMA_TOO_OLD"
    away = f"postgresql+psycopg://u:hidden@127.0.0.1:{free_port()}/x"
    with pytest.raises(Unavailable) as gone:
        require(away)
    assert gone.value.reason == "DATABASE_UNAVAILABLE"
    assert "hidden" not in gone.value.message
