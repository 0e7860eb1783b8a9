"""What waits for the reconciler, in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from linnet_gateway.records import RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, from_us, to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.large_runs import SELECT_BARE_RUNS
from linnet_gateway.sql.runs import read_runs
from linnet_gateway.states import WITH_TRAINER, RunState


class SqlWork:
    """What waits for the reconciler."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unplanned(self, limit: int) -> Sequence[RunRecord]:
        """Read queued runs that no launch has and whose batch, if any, is running."""
        columns = schema.runs.c
        query = (
            SELECT_BARE_RUNS.outerjoin(schema.batches, schema.batches.c.uid == columns.batch_uid)
            .where(
                schema.LIVE_RUN,
                columns.state == int(RunState.QUEUED),
                columns.launch_uid.is_(None),
                columns.cancel_time.is_(None),
                or_(columns.batch_uid.is_(None), schema.batches.c.state == 2),  # noqa: PLR2004 - BatchState.RUNNING
            )
            .order_by(columns.priority.desc(), columns.create_time, columns.batch_index)
            .limit(limit)
        )
        return await self._database.read(lambda c: read_runs(c, query))

    async def trained(self, limit: int, besides: Collection[str]) -> Sequence[RunRecord]:
        """Read runs that are to be analyzed, besides those of some uids, oldest first."""
        columns = schema.runs.c
        query = (
            SELECT_RUNS.where(
                schema.LIVE_RUN,
                columns.state == int(RunState.ANALYZING),
                columns.uid.not_in(besides),
            )
            .order_by(columns.update_time)
            .limit(limit)
        )
        return await self._database.read(lambda c: read_runs(c, query))

    async def cancelled_before(self, time: datetime, limit: int) -> Sequence[RunRecord]:
        """Read live runs whose cancelling was asked for before a time."""
        columns = schema.runs.c
        query = SELECT_BARE_RUNS.where(schema.LIVE_RUN, columns.cancel_time < to_us(time)).limit(
            limit
        )
        return await self._database.read(lambda c: read_runs(c, query))

    async def silent_since(self, time: datetime, limit: int) -> Sequence[RunRecord]:
        """Read runs with an open attempt that last reported, or was handed out, before a time."""
        columns = schema.runs.c
        query = SELECT_BARE_RUNS.where(
            schema.LIVE_RUN,
            columns.state.in_([int(s) for s in WITH_TRAINER]),
            columns.attempt_open.is_(True),
            columns.last_report_time < to_us(time),
        ).limit(limit)
        return await self._database.read(lambda c: read_runs(c, query))

    async def overdue(self, now: datetime) -> Sequence[RunRecord]:
        """Read runs of batches with an open attempt that began longer ago than they may take."""
        columns = schema.runs.c
        # As few as shards that run, and most of the time none of them.
        query = SELECT_BARE_RUNS.where(
            schema.LIVE_RUN,
            columns.state.in_([int(s) for s in WITH_TRAINER]),
            columns.attempt_open.is_(True),
            columns.batch_uid.is_not(None),
            columns.start_time + columns.deadline < to_us(now),
        )
        return await self._database.read(lambda c: read_runs(c, query))

    async def counts(self) -> Mapping[tuple[str, RunState], int]:
        """Count live runs by project and state."""
        columns = schema.runs.c
        query = (
            select(columns.project, columns.state, func.count())
            .where(schema.LIVE_RUN)
            .group_by(columns.project, columns.state)
        )

        def work(connection: Connection) -> dict[tuple[str, RunState], int]:
            return {(row[0], RunState(row[1])): int(row[2]) for row in connection.execute(query)}

        return await self._database.read(work)

    async def oldest_queued(self) -> datetime | None:
        """Give the creation of the oldest run that waits for a trainer; None without one."""
        columns = schema.runs.c
        query = select(func.min(columns.create_time)).where(
            schema.LIVE_RUN, columns.state == int(RunState.QUEUED)
        )

        def work(connection: Connection) -> datetime | None:
            found = connection.execute(query).scalar()
            return None if found is None else from_us(found)

        return await self._database.read(work)

    async def batch_counts(self, limit: int) -> Mapping[tuple[str, str, RunState], int]:
        """Count runs of the oldest batches that are not done, by project, batch id and state."""
        columns = schema.runs.c
        live = (
            select(schema.batches.c.uid, schema.batches.c.project, schema.batches.c.id)
            .where(schema.LIVE_BATCH)
            .order_by(schema.batches.c.create_time, schema.batches.c.uid)
            .limit(limit)
            .subquery()
        )
        query = (
            select(live.c.project, live.c.id, columns.state, func.count())
            .join_from(live, schema.runs, columns.batch_uid == live.c.uid)
            .group_by(live.c.project, live.c.id, columns.state)
        )

        def work(connection: Connection) -> dict[tuple[str, str, RunState], int]:
            found = connection.execute(query)
            return {(row[0], row[1], RunState(row[2])): int(row[3]) for row in found}

        return await self._database.read(work)
