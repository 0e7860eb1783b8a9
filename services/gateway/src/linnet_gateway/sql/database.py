"""Connections, threads and transactions.

Writes go through one thread. Whatever waits there when it comes free is committed together: a
thousand trainers that report each second cost a few dozen commits. If one piece of work fails, the
whole is rolled back and each piece gets a transaction of its own. On PostgreSQL every writing
transaction holds one advisory lock, so that replicas write one after the other as SQLite makes them
do, and events become visible in the order of their ids; what is committed wakes the other replicas.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from linnet_runtime.errors import Internal, InvalidInput, LinnetError, Unavailable
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

T = TypeVar("T")
Work = Callable[[Connection], T]

_MAX_GROUP = 256
_GATHER_S = 0.005
"""How long work is gathered once more than one comes at a time; a commit costs as much as ten."""
_ATTEMPTS = 3
_READERS = 4
_BUSY_TIMEOUT_MS = 5_000
CHANNEL = "linnet_events"
"""On which PostgreSQL tells other replicas that there may be events."""
_WRITER_LOCK = 0x6C696E6E
"""Key of the advisory lock: "linn"."""


class TransactionMetrics(Protocol):
    """What is told of transactions."""

    def transaction(self, operation: str, seconds: float) -> None:
        """Count a transaction, `read` or `write`."""
        ...

    def error(self, operation: str, kind: str) -> None:
        """Count an error: `conflict` or `unavailable`."""
        ...


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


class Database:
    """Runs work on a database, off the event loop."""

    def __init__(self, url: str, metrics: TransactionMetrics | None = None) -> None:
        self._metrics = metrics
        self._reader = _engine(url, writes=False)
        self._near = _sqlite(url, transactions=None) if self.is_sqlite else None
        self._near_connection: Connection | None = None
        self._kept: Connection | None = None
        self._writer = _engine(url, writes=True)
        self._committed: Callable[[], None] | None = None
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="db-read")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_loop, name="db-write", daemon=True)
        self._thread.start()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have a function called, on the event loop, after each commit of a write."""
        self._committed = callback

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
            raise self._translated(error, "read") from error
        finally:
            self._observe("read", begun)

    async def write(self, work: Work[T]) -> T:
        """Run work in a transaction and return when it is committed.

        The work may run more than once; it changes nothing but the database.

        Raises:
            Unavailable: The database can't be reached; whether the work was committed is not known.
            LinnetError: Whatever the work raises; then nothing of it is committed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._jobs.put(job)
        result: T = await job.answer
        return result

    def close(self) -> None:
        """Finish what was begun and close every connection."""
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown()
        if self._kept is not None:
            self._kept.close()
        if self._near_connection is not None:
            self._near_connection.close()
        if self._near is not None:
            self._near.dispose()
        self._reader.dispose()
        self._writer.dispose()

    def _read(self, work: Work[T]) -> T:
        begun = time.perf_counter()
        for attempt in range(_ATTEMPTS):
            try:
                with self._reader.connect() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if attempt + 1 == _ATTEMPTS or not _transient(error):
                    raise self._translated(error, "read") from error
            finally:
                self._observe("read", begun)
        raise AssertionError

    def _write_loop(self) -> None:
        busy = False
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if busy:
                time.sleep(_GATHER_S)
            jobs, last = [job], False
            while len(jobs) < _MAX_GROUP and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    last = True
                    break
                jobs.append(following)
            busy = len(jobs) > 1
            self._commit(jobs)
            self._answer(jobs)
            if last:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        begun = time.perf_counter()
        for attempt in range(_ATTEMPTS):
            try:
                with self._writing() as connection:
                    for job in jobs:
                        job.error = None
                        job.result = job.work(connection)
                    if not self.is_sqlite:
                        # Sent with the commit, once however often a transaction says it.
                        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
            except Exception as error:  # noqa: BLE001 - the thread must go on; callers get the error
                if len(jobs) > 1:
                    for job in jobs:
                        self._commit([job])
                    return
                if attempt + 1 == _ATTEMPTS or not _transient(error):
                    jobs[0].error = self._translated(error, "write")
                    return
            else:
                self._observe("write", begun)
                return

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Give the writer's connection in a transaction.

        SQLite's stays checked out: taking one from the pool costs as much as what a commit writes.
        """
        if not self.is_sqlite:
            with self._writer.begin() as connection:
                yield connection
            return
        if self._kept is None:
            self._kept = self._writer.connect()
        try:
            with self._kept.begin():
                yield self._kept
        except DBAPIError:
            self._kept.close()
            self._kept = None
            raise

    def _answer(self, jobs: list[_Job]) -> None:
        def tell(told: list[_Job]) -> None:
            for job in told:
                if job.answer.done():
                    continue
                if job.error is not None:
                    job.answer.set_exception(job.error)
                else:
                    job.answer.set_result(job.result)
            if self._committed is not None:
                self._committed()

        for loop in {job.loop for job in jobs}:
            mine = [job for job in jobs if job.loop is loop]
            try:
                loop.call_soon_threadsafe(tell, mine)
            except RuntimeError:
                continue  # the loop is closed: nobody waits any more

    def _observe(self, operation: str, begun: float) -> None:
        if self._metrics is not None:
            self._metrics.transaction(operation, time.perf_counter() - begun)

    def _translated(self, error: BaseException, operation: str) -> LinnetError:
        if isinstance(error, LinnetError):
            return error
        if isinstance(error, DataError):
            return InvalidInput.of(
                "request",
                f"expected values that the records can hold, received one that they can't: "
                f"{error.orig}",
                reason="UNSTORABLE_VALUE",
            )
        unavailable = isinstance(error, DBAPIError | PoolTimeoutError)
        if self._metrics is not None:
            self._metrics.error(operation, "unavailable" if unavailable else "internal")
        if unavailable:
            return Unavailable(
                "the database can't be reached or is busy", reason="DATABASE_UNAVAILABLE"
            )
        return Internal(f"a database {operation} failed: {type(error).__name__}: {error}")


def _transient(error: BaseException) -> bool:
    # A unique violation is another replica that was quicker: the work then finds its row.
    return isinstance(error, IntegrityError) or (
        isinstance(error, DBAPIError)
        and not isinstance(error, DataError)
        and not isinstance(error.orig, TypeError)
    )


def _engine(url: str, *, writes: bool) -> Engine:
    if url.startswith("sqlite"):
        return _sqlite(url, transactions="BEGIN IMMEDIATE" if writes else "BEGIN")
    engine = create_engine(
        url,
        pool_size=1 if writes else _READERS,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            # A frozen replica must not hold the writers' lock for ever.
            "options": "-c idle_in_transaction_session_timeout=5000 -c lock_timeout=10000",
        },
    )
    if writes:

        @event.listens_for(engine, "begin")
        def lock(connection: Connection) -> None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})

    return engine


def _sqlite(url: str, *, transactions: str | None) -> Engine:
    engine = create_engine(
        url,
        pool_size=_READERS if transactions == "BEGIN" else 1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(raw: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late for savepoints; SQLAlchemy's documentation has this.
        raw.isolation_level = None
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA wal_autocheckpoint=4000")

    if transactions is not None:

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql(transactions)

    return engine
