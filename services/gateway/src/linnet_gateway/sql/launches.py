"""Launches in SQL."""

from collections.abc import Callable, Sequence
from datetime import datetime

from linnet_runtime.errors import NotFound
from sqlalchemy import Connection, bindparam, insert, select, update

from linnet_gateway.ports import Now
from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import load_launch, plain_row, to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.large_runs import SELECT_BARE_RUNS
from linnet_gateway.sql.runs import read_runs
from linnet_gateway.states import RunState

Plan = Sequence[tuple[LaunchRecord, Sequence[tuple[str, int]]]]


class SqlLaunches:
    """Records of launches."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def plan(self, launches: Plan) -> None:
        """Store launches with the runs that they take; skips runs that moved on."""
        now = self._now()

        def work(connection: Connection) -> None:
            for launch, runs in launches:
                if _take(connection, launch, runs, now):
                    connection.execute(insert(schema.launches).values(**plain_row(launch)))

        await self._database.write(work)

    async def live(self) -> Sequence[LaunchRecord]:
        """Read every launch that has not ended, in order of creation."""
        columns = schema.launches.c
        query = (
            select(schema.launches)
            .where(schema.LIVE_LAUNCH)
            .order_by(columns.create_time, columns.uid)
        )

        def work(connection: Connection) -> list[LaunchRecord]:
            return [load_launch(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def needless(self) -> Sequence[LaunchRecord]:
        """Read launches that were not issued yet and whose runs need no trainer any more."""
        runs, columns = schema.runs.c, schema.launches.c
        needed = (
            select(runs.uid)
            .where(runs.launch_uid == columns.uid, runs.state < int(RunState.ANALYZING))
            .exists()
        )
        query = select(schema.launches).where(
            schema.LIVE_LAUNCH, columns.state == int(LaunchState.PLANNED), ~needed
        )

        def work(connection: Connection) -> list[LaunchRecord]:
            return [load_launch(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def cancelled(self) -> Sequence[str]:
        """Read uids of launches under way that cancelled runs have left with nothing to do."""
        runs, columns = schema.runs.c, schema.launches.c
        needed = select(runs.launch_uid).where(
            schema.LIVE_RUN, runs.state < int(RunState.ANALYZING), runs.launch_uid.is_not(None)
        )
        cancelled = (
            select(runs.uid)
            .where(
                runs.launch_uid == columns.uid,
                runs.cancel_time.is_not(None),
                runs.state == int(RunState.CANCELLED),
            )
            .exists()
        )
        query = select(columns.uid).where(
            schema.LIVE_LAUNCH,
            columns.state == int(LaunchState.LAUNCHED),
            cancelled,
            columns.uid.not_in(needed),
        )
        return await self._database.read(lambda c: list(c.execute(query).scalars()))

    async def get(self, uid: str) -> LaunchRecord:
        """Read one; raises `NotFound`."""
        return await self._database.read(lambda c: _get(c, uid))

    async def change(
        self, uid: str, decide: Callable[[LaunchRecord], LaunchRecord]
    ) -> LaunchRecord:
        """Change one."""

        def work(connection: Connection) -> LaunchRecord:
            old = _get(connection, uid)
            new = decide(old)
            before, after = plain_row(old), plain_row(new)
            changes = {name: after[name] for name in before if before[name] != after[name]}
            if changes:
                statement = update(schema.launches).where(schema.launches.c.uid == uid)
                connection.execute(statement.values(**changes))
            return new

        return await self._database.write(work)

    async def unfinished(
        self, uid: str, shards: Sequence[int] | None = None
    ) -> Sequence[RunRecord]:
        """Read runs of a launch that still need a trainer, or those of some shards."""
        columns = schema.runs.c
        query = SELECT_BARE_RUNS.where(
            columns.launch_uid == uid, columns.state < int(RunState.ANALYZING)
        )
        if shards is not None:
            query = query.where(columns.shard.in_(shards))
        query = query.order_by(columns.shard, columns.batch_index)
        return await self._database.read(lambda c: read_runs(c, query))


def _get(connection: Connection, uid: str) -> LaunchRecord:
    query = select(schema.launches).where(schema.launches.c.uid == uid)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("launch", uid)
    return load_launch(row)


def _take(
    connection: Connection, launch: LaunchRecord, runs: Sequence[tuple[str, int]], now: datetime
) -> bool:
    columns = schema.runs.c
    statement = (
        update(schema.runs)
        .where(
            columns.uid == bindparam("of_uid"),
            columns.state == int(RunState.QUEUED),
            columns.launch_uid.is_(None),
            columns.cancel_time.is_(None),
        )
        .values(
            launch_uid=launch.uid,
            shard=bindparam("to_shard"),
            launch_count=columns.launch_count + 1,
            waiting="",
            update_time=to_us(now),
        )
    )
    connection.execute(statement, [{"of_uid": uid, "to_shard": shard} for uid, shard in runs])
    taken = select(columns.uid).where(columns.launch_uid == launch.uid).limit(1)
    return connection.execute(taken).first() is not None
