"""Batches in SQL."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from linnet_runtime.errors import AlreadyExists, Conflict, NotFound
from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from linnet_gateway import transitions
from linnet_gateway.ports import Now
from linnet_gateway.queries import Page
from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import (
    BatchCounts,
    BatchRecord,
    EventKind,
    RunRecord,
)
from linnet_gateway.sql import schema
from linnet_gateway.sql.batch_ends import cancel_batch, end_batches, finished_batches, get_batch
from linnet_gateway.sql.codec import load_batch, plain_row
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.large_runs import read_some
from linnet_gateway.sql.new_runs import add_runs, check_room
from linnet_gateway.sql.pages import before
from linnet_gateway.sql.runs import add_event
from linnet_gateway.states import BatchState, FailureReason, RunState

_TOGETHER = 500
"""Runs that are read and added together."""


class SqlBatches:
    """Records of batches."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def create(self, batch: BatchRecord) -> BatchRecord:
        """Store a new one, or give the one that the same request made before."""
        columns = schema.batches.c

        def work(connection: Connection) -> BatchRecord:
            known = _requested(connection, batch.project, batch.request_id)
            if known is not None:
                return known
            query = select(schema.batches).where(
                columns.project == batch.project, columns.id == batch.id
            )
            if connection.execute(query).first() is not None:
                raise AlreadyExists(
                    f"batch {batch.name!r} exists",
                    reason="BATCH_EXISTS",
                    metadata={"name": batch.name},
                )
            connection.execute(insert(schema.batches).values(**plain_row(batch)))
            return batch

        return await self._database.write(work)

    async def requested(self, project: str, request_id: str) -> BatchRecord | None:
        """Read the batch that a request made before; None if it made none."""
        return await self._database.look_up(lambda c: _requested(c, project, request_id))

    async def get(self, project: str, id_: str) -> BatchRecord:
        """Read one; raises `NotFound`."""
        columns = schema.batches.c
        query = select(schema.batches).where(columns.project == project, columns.id == id_)

        def work(connection: Connection) -> BatchRecord:
            row = connection.execute(query).mappings().first()
            if row is None:
                raise NotFound("batch", f"projects/{project}/batches/{id_}")
            return load_batch(row)

        return await self._database.read(work)

    async def get_uid(self, uid: str) -> BatchRecord:
        """Read one by its uid; raises `NotFound`."""
        return await self._database.read(lambda c: get_batch(c, uid))

    async def list(self, project: str, page: Page) -> Sequence[BatchRecord]:
        """List a page, newest first."""
        columns = schema.batches.c
        query = (
            select(schema.batches)
            .where(columns.project == project, before(page, columns))
            .order_by(columns.create_time.desc(), columns.uid.desc())
            .limit(page.size)
        )

        def work(connection: Connection) -> list[BatchRecord]:
            return [load_batch(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def change(self, uid: str, decide: Callable[[BatchRecord], BatchRecord]) -> BatchRecord:
        """Change one."""

        def work(connection: Connection) -> BatchRecord:
            old = get_batch(connection, uid)
            new = decide(old)
            before_, after = plain_row(old), plain_row(new)
            changes = {name: after[name] for name in before_ if before_[name] != after[name]}
            if not changes:
                return old
            changes["version"] = old.version + 1
            statement = update(schema.batches).where(schema.batches.c.uid == uid)
            connection.execute(statement.values(**changes))
            add_event(connection, EventKind.BATCH, uid, uid, self._now())
            return get_batch(connection, uid)

        return await self._database.write(work)

    async def add(
        self, uid: str, runs: Sequence[RunRecord], expected: int, quota: Quota | None = None
    ) -> int:
        """Add runs to a batch that holds `expected` of them and give the new number."""

        def work(connection: Connection) -> int:
            batch = get_batch(connection, uid)
            if batch.run_count != expected or batch.state is not BatchState.FILLING:
                raise Conflict(
                    f"batch {batch.name!r} is {batch.state.name} and holds {batch.run_count} runs, "
                    f"expected FILLING and {expected}",
                    reason="BATCH_MOVED_ON",
                    metadata={"batch": batch.name, "run_count": str(batch.run_count)},
                )
            if runs:
                add_runs(connection, runs, quota, batch)
                add_event(connection, EventKind.BATCH, uid, uid, self._now())
            return expected + len(runs)

        return await self._database.write(work)

    async def counts(self, uid: str) -> BatchCounts:
        """Count its runs."""
        return (await self.counts_of([uid]))[uid]

    async def counts_of(self, uids: Collection[str]) -> Mapping[str, BatchCounts]:
        """Count the runs of some batches."""
        columns = schema.runs.c
        query = (
            select(
                columns.batch_uid,
                columns.state,
                columns.failure_reason,
                columns.verdict,
                func.count(),
            )
            .where(columns.batch_uid.in_(uids))
            .group_by(columns.batch_uid, columns.state, columns.failure_reason, columns.verdict)
        )

        def work(connection: Connection) -> dict[str, BatchCounts]:
            rows: dict[str, list[tuple[int, int, int, int]]] = {uid: [] for uid in uids}
            for uid, *row in connection.execute(query):
                rows[uid].append((row[0], row[1], row[2], row[3]))
            return {uid: _counts(of_batch) for uid, of_batch in rows.items()}

        return await self._database.read(work)

    async def members(self, uid: str, after: int, limit: int) -> Sequence[RunRecord]:
        """Read runs of a batch that stand behind a place, in order."""
        columns = schema.runs.c
        which = [columns.batch_uid == uid, columns.batch_index > after]
        return await self._database.read(lambda c: read_some(c, which, columns.batch_index, limit))

    async def digests(self, uid: str, after: int, limit: int) -> Sequence[str]:
        """Read the `spec_digest` of runs of a batch that stand behind a place, in order."""
        columns = schema.runs.c
        query = (
            select(columns.spec_digest)
            .where(columns.batch_uid == uid, columns.batch_index > after)
            .order_by(columns.batch_index)
            .limit(limit)
        )
        return await self._database.read(lambda c: c.execute(query).scalars().all())

    async def cancel(self, uid: str, now: datetime) -> BatchRecord:
        """Cancel every run that no trainer has, and ask the trainers of the others to stop."""
        return await self._database.write(lambda c: cancel_batch(c, uid, now))

    async def end_finished(self, now: datetime) -> None:
        """End every batch that is filled and has no live run left."""
        if await self._database.read(finished_batches):
            await self._database.write(lambda c: end_batches(c, now))

    async def add_retries(
        self,
        uid: str,
        make: Callable[[RunRecord, int], RunRecord],
        limit: int,
        quota: Quota | None = None,
    ) -> int:
        """Add a run for each failed one that has none yet, made of it and its place."""
        columns = schema.runs.c

        def work(connection: Connection) -> int:
            batch = get_batch(connection, uid)
            transitions.check_takes_retries(batch)
            untried = _untried(batch)
            sizes = select(func.length(columns.spec).label("size")).where(*untried).limit(limit)
            counted = select(func.count(), func.sum(sizes.subquery().c.size))
            count, spec_bytes = connection.execute(counted).one()
            if not count:
                return 0
            # All of them or none; then some at a time, however large they are.
            more = Held(count, spec_bytes)
            check_room(connection, batch.project, more, quota, batch)
            made = 0
            while made < count:
                failed = read_some(
                    connection, untried, columns.batch_index, min(_TOGETHER, count - made)
                )
                place = batch.run_count + made
                again = [make(run, place + i) for i, run in enumerate(failed)]
                add_runs(connection, again, None, batch)
                made += len(again)
            connection.execute(
                update(schema.batches)
                .where(schema.batches.c.uid == uid)
                .values(
                    state=int(BatchState.RUNNING),
                    end_time=None,
                    cancel_time=None,
                    version=batch.version + 1,
                )
            )
            add_event(connection, EventKind.BATCH, uid, uid, self._now())
            return made

        return await self._database.write(work)

    async def live(self) -> Sequence[BatchRecord]:
        """Read every batch that is not done."""
        query = select(schema.batches).where(schema.LIVE_BATCH)

        def work(connection: Connection) -> list[BatchRecord]:
            return [load_batch(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)


def _requested(connection: Connection, project: str, request_id: str | None) -> BatchRecord | None:
    if request_id is None:
        return None
    columns = schema.batches.c
    query = select(schema.batches).where(
        columns.project == project, columns.request_id == request_id
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else load_batch(row)


def _counts(rows: Iterable[tuple[int, int, int, int]]) -> BatchCounts:
    """Sum up counts by state, reason and verdict."""
    states: Counter[RunState] = Counter()
    failures: Counter[FailureReason] = Counter()
    verdicts: Counter[int] = Counter()
    for state, reason, verdict, count in rows:
        states[RunState(state)] += count
        if state == RunState.FAILED:
            failures[FailureReason(reason)] += count
        if verdict:
            verdicts[verdict] += count
    return BatchCounts(states, failures, verdicts)


def _untried(batch: BatchRecord) -> list[ColumnElement[bool]]:
    """Give the conditions that a run of a batch failed and has no retry."""
    columns = schema.runs.c
    tried = select(columns.retry_of).where(
        columns.batch_uid == batch.uid, columns.retry_of.is_not(None)
    )
    return [
        columns.batch_uid == batch.uid,
        columns.state == int(RunState.FAILED),
        columns.uid.not_in(tried),
    ]
