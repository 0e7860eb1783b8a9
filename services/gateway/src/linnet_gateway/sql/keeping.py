"""What the records forget, in SQL."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, select

from linnet_gateway.object_keys import batch_prefix, dataset_prefix
from linnet_gateway.records import EventKind
from linnet_gateway.sql import schema
from linnet_gateway.sql.audit import is_older, prune
from linnet_gateway.sql.codec import to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.run_output import (
    forget_artifacts,
    forget_logs,
    old_artifacts,
    old_logs,
)
from linnet_gateway.sql.runs import doom
from linnet_gateway.sql.runs_in_use import in_use
from linnet_gateway.states import BatchState, DatasetState, RunState

_AT_ONCE = 100_000
"""Runs beyond the newest ones that are looked at together; SQL wants a limit beside an offset."""

Prefix = Callable[[str, str, str], str]


class SqlKeeping:
    """What the records forget."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget_events(self, older_than: datetime) -> None:
        """Delete hints that no reader waits for any more; output stays until it is archived."""
        columns = schema.events.c
        hint = columns.kind != int(EventKind.LOG)
        # Ids grow with time: looking from the oldest on stops at the first that is young.
        young = (
            select(columns.id)
            .where(hint, columns.create_time >= to_us(older_than))
            .order_by(columns.id)
            .limit(1)
            .scalar_subquery()
        )
        last = select(func.max(columns.id) + 1).scalar_subquery()
        statement = delete(schema.events).where(hint, columns.id < func.coalesce(young, last))
        await self._database.write(lambda c: c.execute(statement).rowcount)

    async def expired_runs(
        self,
        ended_before: datetime | None,
        kept: int,
        limit: int,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> Sequence[str]:
        """Give uids of terminal runs that ended before a time or are beyond the newest `kept`."""
        whose = _whose(project, besides)

        def work(connection: Connection) -> list[str]:
            found: dict[str, None] = {}
            if ended_before is not None:
                found |= dict.fromkeys(_ended_before(connection, ended_before, whose, limit))
            if kept:
                found |= dict.fromkeys(_beyond(connection, kept, whose, limit))
            return list(found)[:limit]

        return await self._database.read(work)

    async def forget_logs(
        self,
        ended_before: datetime,
        limit: int,
        now: datetime,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> int:
        """Forget the stored output of runs that ended before a time, doom it, say of how many."""
        ended = schema.runs.c.end_time < to_us(ended_before)
        old = partial(old_logs, and_(ended, _whose(project, besides)))
        return await self._forget(old, forget_logs, limit, now)

    async def forget_artifacts(
        self,
        ended_before: datetime,
        limit: int,
        now: datetime,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> int:
        """Forget the artifacts of runs that ended before a time, doom them, say of how many."""
        ended = schema.runs.c.end_time < to_us(ended_before)
        old = partial(old_artifacts, and_(ended, _whose(project, besides), _free()))
        return await self._forget(old, forget_artifacts, limit, now)

    async def _forget(
        self,
        old: Callable[[int], Select[Any]],
        forget: Callable[[Connection, Select[Any], datetime], int],
        limit: int,
        now: datetime,
    ) -> int:
        # Most of the time there is none: asked for beside the writer.
        if await self._database.read(lambda c: c.execute(old(1)).first()) is None:
            return 0
        return await self._database.write(lambda c: forget(c, old(limit), now))

    async def prune_audit(self, older_than: datetime, limit: int, now: datetime) -> int:
        """Delete the oldest entries of the audit log, with a note of it; say how many."""
        if not await self._database.read(lambda c: is_older(c, older_than)):
            return 0
        return await self._database.write(lambda c: prune(c, older_than, limit, now))

    async def expire_batches(self, ended_before: datetime, now: datetime) -> int:
        """Delete batches that ended before a time and whose runs are all gone; say how many."""
        columns, runs = schema.batches.c, schema.runs.c
        which = and_(
            columns.state == int(BatchState.DONE),
            columns.end_time < to_us(ended_before),
            ~select(runs.uid).where(runs.batch_uid == columns.uid).exists(),
        )
        dropped = await self._drop(schema.batches, which, batch_prefix, now)
        if dropped:
            scripts = schema.batch_scripts.c
            unused = scripts.batch_uid.not_in(select(columns.uid))
            statement = delete(schema.batch_scripts).where(unused)
            await self._database.write(lambda c: c.execute(statement).rowcount)
        return dropped

    async def forget_launches(self, ended_before: datetime) -> None:
        """Delete records of launches that ended before a time."""
        columns = schema.launches.c
        old = columns.end_time < to_us(ended_before)
        if await self._database.read(
            lambda c: c.execute(select(columns.uid).where(old).limit(1)).first()
        ):
            statement = delete(schema.launches).where(old)
            await self._database.write(lambda c: c.execute(statement).rowcount)

    async def abandon_uploads(self, older_than: datetime, now: datetime) -> int:
        """Delete datasets that nobody finalized, doom their objects, and say how many."""
        columns = schema.datasets.c
        which = and_(
            columns.state == int(DatasetState.UPLOADING), columns.create_time < to_us(older_than)
        )
        return await self._drop(schema.datasets, which, dataset_prefix, now)

    async def _drop(
        self, table: Table, which: ColumnElement[bool], prefix: Prefix, now: datetime
    ) -> int:
        """Delete records and doom what is stored of each; say how many."""
        query = select(table.c.project, table.c.id, table.c.uid).where(which)
        if not await self._database.read(lambda c: c.execute(query.limit(1)).first()):
            return 0

        def work(connection: Connection) -> int:
            found = connection.execute(query).all()
            doom(connection, [prefix(*row) for row in found], now)
            connection.execute(delete(table).where(table.c.uid.in_([row[2] for row in found])))
            return len(found)

        return await self._database.write(work)

    async def doomed(self, before: datetime, limit: int) -> Sequence[str]:
        """Give prefixes, doomed before a time or at it, whose objects are to be deleted."""
        columns = schema.doomed_objects.c
        query = select(columns.prefix).where(columns.create_time <= to_us(before)).limit(limit)

        def work(connection: Connection) -> list[str]:
            return [row[0] for row in connection.execute(query)]

        return await self._database.read(work)

    async def deleted(self, prefix: str) -> None:
        """Note that the objects of a prefix are gone."""
        statement = delete(schema.doomed_objects).where(schema.doomed_objects.c.prefix == prefix)
        await self._database.write(lambda c: c.execute(statement).rowcount)


def _whose(project: str | None, besides: Collection[str]) -> ColumnElement[bool]:
    """Give the condition that a run is of a project, or of none of some."""
    name = schema.runs.c.project
    return name.not_in(list(besides)) if project is None else name == project


def _free() -> ColumnElement[bool]:
    """Give the condition that nothing live needs a run: its batch, or one that starts from it."""
    columns = schema.batches.c
    of_live = columns.uid == schema.runs.c.batch_uid
    return and_(~select(columns.uid).where(of_live, schema.LIVE_BATCH).exists(), ~in_use())


def _ended_before(
    connection: Connection, time: datetime, whose: ColumnElement[bool], limit: int
) -> list[str]:
    columns = schema.runs.c
    query = (
        select(columns.uid)
        .where(
            columns.end_time < to_us(time),
            columns.state >= int(RunState.SUCCEEDED),
            whose,
            _free(),
        )
        .order_by(columns.end_time)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _beyond(connection: Connection, kept: int, whose: ColumnElement[bool], limit: int) -> list[str]:
    """Give the oldest terminal runs of each project that has more than it may keep."""
    columns = schema.runs.c
    found: list[str] = []
    free = _free()
    projects = select(columns.project).where(whose).distinct()
    for project in connection.execute(projects).scalars().all():
        terminal = (columns.project == project) & (columns.state >= int(RunState.SUCCEEDED))
        beyond = (
            select(columns.uid)
            .where(terminal)
            .order_by(columns.create_time.desc(), columns.uid.desc())
            .offset(kept)
            .limit(_AT_ONCE)
            .subquery()
        )
        query = select(columns.uid).where(columns.uid.in_(select(beyond.c.uid)), free).limit(limit)
        found += connection.execute(query).scalars()
    return found
