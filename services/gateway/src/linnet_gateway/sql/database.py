"""A database: reads on threads, look-ups on the event loop, and one writer."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from linnet_gateway.sql.engines import READERS, engine, sqlite
from linnet_gateway.sql.faults import (
    ATTEMPTS,
    NoMetrics,
    TransactionMetrics,
    transient,
    translated,
)
from linnet_gateway.sql.writer import Writer

T = TypeVar("T")
Work = Callable[[Connection], T]


class Database:
    """Runs work on a database."""

    def __init__(self, url: str, metrics: TransactionMetrics | None = None) -> None:
        self._metrics = metrics or NoMetrics()
        self._reader = engine(url, writes=False)
        self._near = sqlite(url, transactions=None) if self.is_sqlite else None
        self._near_connection: Connection | None = None
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        self._writer = Writer(url, self._metrics)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have a function called, on the event loop, after each commit of a write."""
        self._writer.on_commit(callback)

    @property
    def is_sqlite(self) -> bool:
        """Whether only one gateway may use it."""
        return self._reader.dialect.name == "sqlite"

    async def read(self, work: Work[T]) -> T:
        """Run work in a transaction that writes nothing.

        Raises:
            Unavailable: The database can't be reached.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(self._read, work))

    async def look_up(self, work: Work[T]) -> T:
        """Run work that is one statement and finds its row by an index.

        On SQLite it runs at once, on a connection of the event loop's own without a transaction:
        that takes a tenth of a millisecond, less than finding a thread.

        Raises:
            Unavailable: The database can't be reached.
        """
        if self._near is None:
            return await self.read(work)
        begun = time.perf_counter()
        try:
            if self._near_connection is None:
                self._near_connection = self._near.connect()
            return work(self._near_connection)
        except SQLAlchemyError as error:
            if self._near_connection is not None:
                self._near_connection.close()
                self._near_connection = None
            raise translated(error, "read", self._metrics) from error
        finally:
            self._metrics.transaction("read", time.perf_counter() - begun)

    async def write(self, work: Work[T], *, brief: bool = False) -> T:
        """Run work in a transaction and return when it is committed.

        The work may run more than once; it changes nothing but the database.

        Args:
            work: What is to be done.
            brief: Whether it finds by an index whatever it reads and changes a row or two: then
                it may be done on the event loop.

        Raises:
            Unavailable: The database can't be reached; whether the work was committed is not known.
            LinnetError: Whatever the work raises; then nothing of it is committed.
        """
        result: T = await self._writer.write(work, brief=brief)
        return result

    def close(self) -> None:
        """Finish what was begun and close every connection."""
        self._writer.close()
        self._readers.shutdown()
        if self._near_connection is not None:
            self._near_connection.close()
        if self._near is not None:
            self._near.dispose()
        self._reader.dispose()

    def _read(self, work: Work[T]) -> T:
        begun = time.perf_counter()
        for attempt in range(ATTEMPTS):
            try:
                with self._reader.connect() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if attempt + 1 == ATTEMPTS or not transient(error):
                    raise translated(error, "read", self._metrics) from error
            finally:
                self._metrics.transaction("read", time.perf_counter() - begun)
        raise AssertionError
