"""Wakes the readers of this replica when another one adds events: PostgreSQL's NOTIFY.

A notice says only that there is something to read. It needs a session of its own: behind a pooler
that shares sessions between transactions none arrive, and readers look in their slow period.
"""

import asyncio
from collections.abc import Callable
from typing import LiteralString

import psycopg
from linnet_runtime import logs
from sqlalchemy import make_url

from linnet_gateway.sql.writer import CHANNEL

_CHECK_S = 5.0
_ANSWER_S = 5.0
_RETRY_S = 1.0


class EventNotices:
    """Listens for events that anybody adds to a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        """Make a listener on the database that SQLAlchemy's URL names."""
        parsed = make_url(url)
        _, self._arguments = parsed.get_dialect()().create_connect_args(parsed)
        self._listening = False
        self._log = logs.get("linnet.notices")

    @property
    def listening(self) -> bool:
        """Whether new events are told of at once."""
        return self._listening

    async def run(self, wake: Callable[[], None]) -> None:
        """Listen until cancelled; a connection that is lost is opened anew.

        Args:
            wake: Called when there may be events, and when listening begins or ends.
        """
        while True:
            try:
                await self._listen(wake)
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._log.warning("notices_lost", error=type(error).__name__)
            finally:
                self._listening = False
                wake()
            await asyncio.sleep(_RETRY_S)

    async def _listen(self, wake: Callable[[], None]) -> None:
        async with asyncio.timeout(_ANSWER_S):
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._arguments)
        async with connection:
            await _answered(connection, f"LISTEN {CHANNEL}")
            self._listening = True
            while True:
                # Also for what was added while nobody listened.
                wake()
                async for _ in connection.notifies(timeout=_CHECK_S):
                    wake()
                # A connection whose other end is gone without a word says so here.
                await _answered(connection, "SELECT 1")


async def _answered(connection: psycopg.AsyncConnection, statement: LiteralString) -> None:
    async with asyncio.timeout(_ANSWER_S):
        await connection.execute(statement)
