"""Readers of other replicas are woken by PostgreSQL, where Debian's server is installed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from linnet_gateway.records import Event
from linnet_gateway.sql.notices import EventNotices
from linnet_gateway.sql.store import Records
from linnet_gateway.tail import EventTail
from sqlalchemy import Engine, create_engine, text

from tests.contract.conftest import truncated
from tests.fakes.records import Time, a_run

NEVER_S = 3600.0


class Replica:
    """A gateway's records and the tail of its events, which never looks by itself."""

    def __init__(self, url: str) -> None:
        self.records = Records(url, Time())
        self.notices = EventNotices(url)
        self.tail = EventTail(self.records.events, idle_s=lambda: NEVER_S)
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.tail.listen(self.events.put_nowait)
        self.tasks = [
            asyncio.create_task(self.tail.run()),
            asyncio.create_task(self.notices.run(self.tail.wake)),
        ]

    @property
    def follows(self) -> bool:
        """Whether the tail knows after which event it begins."""
        return self.tail._last >= 0

    async def sees(self, uid: str) -> None:
        """Wait until an event of a run is seen."""
        async with asyncio.timeout(60):
            while (await self.events.get()).subject != uid:
                pass

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.records.close()


@pytest.fixture
async def pair(postgres_url: str) -> AsyncIterator[tuple[Records, Replica]]:
    truncated(postgres_url)
    writer, replica = Records(postgres_url, Time()), Replica(postgres_url)
    await writer.runs.create(a_run("first"))
    # Listening begins with a look: from here on only notices wake it.
    async with asyncio.timeout(60):
        while not (replica.notices.listening and replica.follows):  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    yield writer, replica
    await replica.close()
    writer.close()


@pytest.fixture
def administration(postgres_url: str) -> Engine:
    return create_engine(postgres_url, isolation_level="AUTOCOMMIT")


async def test_a_commit_wakes_readers_elsewhere(pair: tuple[Records, Replica]) -> None:
    """An event that another gateway adds arrives without anybody looking for it."""
    writer, replica = pair
    for uid in ("a", "b", "c"):
        await writer.runs.create(a_run(uid))
        await replica.sees(uid)


async def test_a_lost_connection_is_opened_anew_and_misses_nothing(
    pair: tuple[Records, Replica], administration: Engine
) -> None:
    """What is added while nobody listens is read as soon as somebody does again."""
    writer, replica = pair
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    with administration.connect() as connection:
        assert connection.execute(text(ended)).scalars().all() == [True]
    await writer.runs.create(a_run("meanwhile"))
    await replica.sees("meanwhile")
    async with asyncio.timeout(60):
        while not (replica.notices.listening and replica.follows):  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    await writer.runs.create(a_run("afterwards"))
    await replica.sees("afterwards")
