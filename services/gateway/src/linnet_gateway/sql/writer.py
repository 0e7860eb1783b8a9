"""Writes of a database, of which it has one at a time.

They go through one thread. Whatever waits there when it comes free is committed together: a
thousand trainers that report each second cost a few dozen commits. If one piece of work fails, the
whole is rolled back and each piece gets a transaction of its own. On PostgreSQL every writing
transaction holds one advisory lock, so that replicas write one after the other as SQLite makes them
do, and events become visible in the order of their ids; what is committed wakes the other replicas.

On SQLite brief work is done by the event loop itself and the thread only commits it: each statement
lets go of the interpreter twice, and two threads that take it from each other all the time need
several times what the statements do.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from linnet_runtime.errors import LinnetError, Unavailable
from sqlalchemy import Connection
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import SQLAlchemyError

from linnet_gateway.sql.engines import BUSY_TIMEOUT_MS, engine
from linnet_gateway.sql.faults import ATTEMPTS, TransactionMetrics, transient, translated

CHANNEL = "linnet_events"
"""On which PostgreSQL tells other replicas that there may be events."""
_MAX_GROUP = 256
_GATHER_S = 0.005
"""How long work is gathered once more than one comes at a time; a commit costs as much as ten."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Done:
    """Brief work that is done and to be committed."""

    jobs: list[_Job]
    transaction: RootTransaction
    begun: float


class Writer:
    """Runs work in transactions that write."""

    def __init__(self, url: str, metrics: TransactionMetrics) -> None:
        self._metrics = metrics
        self._engine = engine(url, writes=True)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._kept: Connection | None = None
        self._committed: Callable[[], None] | None = None
        self._jobs: queue.SimpleQueue[_Job | _Done | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._brief: list[_Job] = []
        self._brief_loop: asyncio.AbstractEventLoop | None = None
        self._brief_due = False
        self._brief_busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="db-write", daemon=True)
        self._thread.start()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Have a function called, on the event loop, after each commit."""
        self._committed = callback

    async def write(self, work: Callable[[Connection], Any], *, brief: bool) -> Any:
        """Run work and return when it is committed; raises as `Database.write`."""
        if self._closed:
            raise Unavailable("the records are closed", reason="DATABASE_UNAVAILABLE")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        if brief and self._is_sqlite and (self._brief_loop or loop) is loop:
            self._brief_loop = loop
            self._gather(job)
        else:
            self._jobs.put(job)
        return await job.answer

    def close(self) -> None:
        """Finish what was begun and let go of the database."""
        self._closed = True
        for job in self._brief:
            self._jobs.put(job)
        self._brief = []
        self._jobs.put(None)
        self._thread.join()
        self._let_go()
        self._engine.dispose()

    def _gather(self, job: _Job) -> None:
        self._brief.append(job)
        if not self._brief_due:
            self._brief_due = True
            job.loop.call_later(_GATHER_S if self._brief_busy else 0, self._do_brief)

    def _do_brief(self) -> None:
        """Do brief work that waits, on the event loop; the thread commits it."""
        self._brief_due = False
        # While the thread has its turn they wait: it calls this when that is over.
        if not self._brief or not self._turn.acquire(blocking=False):
            return
        jobs, self._brief = self._brief[:_MAX_GROUP], self._brief[_MAX_GROUP:]
        self._brief_busy = len(jobs) > 1
        begun = time.perf_counter()
        try:
            connection = self._connection()
            transaction = _begin_at_once(connection)
            for job in jobs:
                _do(job, connection)
        except BaseException as error:
            # The thread finds out whose it is, and tells them; it can also wait for another writer.
            self._let_go()
            self._turn.release()
            for job in jobs:
                self._jobs.put(job)
            if not isinstance(error, Exception):
                raise
        else:
            self._jobs.put(_Done(jobs, transaction, begun))

    def _connection(self) -> Connection:
        """Give SQLite's, which stays checked out: to take one costs as much as what is written."""
        if self._kept is None:
            self._kept = self._engine.connect()
        return self._kept

    def _let_go(self) -> None:
        if self._kept is not None:
            with suppress(SQLAlchemyError):
                self._kept.close()
            self._kept = None

    def _run(self) -> None:
        waiting: list[_Job] = []
        busy = last = False
        while not (last and not waiting):
            item = self._jobs.get()
            if busy and isinstance(item, _Job):
                time.sleep(_GATHER_S)
            while True:
                if isinstance(item, _Job):
                    waiting.append(item)
                elif item is None:
                    last = True
                else:
                    self._commit(item.jobs, item)
                    self._end_turn(item.jobs)
                if len(waiting) >= _MAX_GROUP or self._jobs.empty():
                    break
                item = self._jobs.get()
            # Without a turn brief work is under way, and the queue is told of its end.
            if waiting and self._turn.acquire(blocking=False):
                jobs, waiting = waiting[:_MAX_GROUP], waiting[_MAX_GROUP:]
                busy = len(jobs) > 1
                self._commit(jobs)
                self._end_turn(jobs)

    def _commit(self, jobs: list[_Job], done: _Done | None = None) -> None:
        """Do work and commit it, or commit what is done; then each job has a result or an error."""
        if done is None or not self._is_committed(done):
            self._do_and_commit(jobs)

    def _do_and_commit(self, jobs: list[_Job]) -> None:
        begun = time.perf_counter()
        for attempt in range(ATTEMPTS):
            started = False
            try:
                with self._writing() as connection:
                    started = True
                    for job in jobs:
                        job.error = None
                        job.result = job.work(connection)
                    if not self._is_sqlite:
                        # Sent with the commit, once however often a transaction says it.
                        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
            except BaseException as error:  # noqa: BLE001 - the thread must go on; callers get the error
                if started and len(jobs) > 1:
                    for job in jobs:
                        self._commit([job])
                    return
                if attempt + 1 == ATTEMPTS or not transient(error):
                    told = translated(error, "write", self._metrics)
                    for job in jobs:
                        job.error = told
                    return
            else:
                self._metrics.transaction("write", time.perf_counter() - begun)
                return

    def _is_committed(self, done: _Done) -> bool:
        try:
            done.transaction.commit()
        except BaseException:  # noqa: BLE001 - it is done again, as if nothing of it had been
            self._let_go()
            return False
        self._metrics.transaction("write", time.perf_counter() - done.begun)
        return True

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if not self._is_sqlite:
            with self._engine.begin() as connection:
                yield connection
            return
        try:
            connection = self._connection()
            with connection.begin():
                yield connection
        except SQLAlchemyError:
            self._let_go()
            raise

    def _end_turn(self, jobs: list[_Job]) -> None:
        """Let others write, and answer."""

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

        self._turn.release()
        for loop in {job.loop for job in jobs}:
            mine = [job for job in jobs if job.loop is loop]
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, mine)
        if self._brief and self._brief_loop is not None:
            with suppress(RuntimeError):
                self._brief_loop.call_soon_threadsafe(self._do_brief)


def _begin_at_once(connection: Connection) -> RootTransaction:
    """Begin to write; raises if that would have to wait for another process."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        return connection.begin()
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _do(job: _Job, connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    job.error, before = None, raw.total_changes
    try:
        job.result = job.work(connection)
    except LinnetError as error:
        # Most refuse before they change anything: that costs nobody else what was done.
        if raw.total_changes != before:
            raise
        job.error = error
