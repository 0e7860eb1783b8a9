"""Events and logs in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, func, insert, or_, select

from linnet_gateway.records import Event, EventKind, FileRecord, LogChunk
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import to_us
from linnet_gateway.sql.database import Database

LOG_BYTES = 1024 * 1024
"""Where a read of log events ends, however many were asked for."""


def _event(row: RowMapping) -> Event:
    return Event(
        id=row["id"],
        kind=EventKind(row["kind"]),
        subject=row["subject"],
        batch_uid=row["batch_uid"],
        attempt=row["attempt"],
        first=row["first"],
        last=row["last"],
        payload=bytes(row["payload"]),
    )


class SqlEvents:
    """Events and the output of trainings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, id_: int, limit: int) -> Sequence[Event]:
        """Read events after an id, in order."""
        columns = schema.events.c
        query = select(schema.events).where(columns.id > id_).order_by(columns.id).limit(limit)
        return await self._database.read(lambda c: _read(c, query))

    async def last_id(self) -> int:
        """Give the id of the last event; 0 without one."""
        query = select(func.max(schema.events.c.id))

        def work(connection: Connection) -> int:
            return int(connection.execute(query).scalar() or 0)

        return await self._database.read(work)

    async def log(self, run_uid: str, after: tuple[int, int], limit: int) -> Sequence[Event]:
        """Read log events that hold entries after an attempt and sequence, in order."""
        columns = schema.events.c
        sized = (
            select(columns.id, func.length(columns.payload).label("size"))
            .where(columns.subject == run_uid, columns.kind == int(EventKind.LOG))
            .where(_later(columns, after))
            .order_by(columns.id)
            .limit(limit)
            .subquery()
        )
        reached = func.sum(sized.c.size).over(order_by=sized.c.id)
        held = select(sized.c.id, (reached - sized.c.size).label("before")).subquery()
        query = (
            select(schema.events)
            .where(columns.id.in_(select(held.c.id).where(held.c.before < LOG_BYTES)))
            .order_by(columns.id)
        )
        return await self._database.read(lambda c: _read(c, query))

    async def chunks(self, run_uid: str, after: tuple[int, int]) -> Sequence[LogChunk]:
        """Read stored chunks that hold entries after an attempt and sequence, in order."""
        columns = schema.log_chunks.c
        query = (
            select(schema.log_chunks)
            .where(columns.run_uid == run_uid, _later(columns, after))
            .order_by(columns.attempt, columns.first)
        )

        def work(connection: Connection) -> list[LogChunk]:
            return [_chunk(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def archivable(
        self, older_than: datetime, min_bytes: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Give (run, attempt) whose log events are old or large enough to become a chunk."""
        columns = schema.events.c
        size = func.sum(func.length(columns.payload))
        query = (
            select(columns.subject, columns.attempt)
            .where(columns.kind == int(EventKind.LOG))
            .group_by(columns.subject, columns.attempt)
            .having(or_(func.min(columns.create_time) < to_us(older_than), size >= min_bytes))
            .limit(limit)
        )

        def work(connection: Connection) -> list[tuple[str, int]]:
            return [(row[0], row[1]) for row in connection.execute(query)]

        return await self._database.read(work)

    async def archive(self, chunk: LogChunk) -> None:
        """Put a stored chunk in the place of the log events that it holds."""
        columns = schema.events.c

        def work(connection: Connection) -> None:
            held = and_(
                columns.subject == chunk.run_uid,
                columns.kind == int(EventKind.LOG),
                columns.attempt == chunk.attempt,
                columns.first >= chunk.first,
                columns.last <= chunk.last,
            )
            # Two replicas may store the same entries: whoever deletes them keeps the chunk.
            if connection.execute(delete(schema.events).where(held)).rowcount:
                connection.execute(insert(schema.log_chunks).values(**_chunk_row(chunk)))

        await self._database.write(work)


def _later(columns: Any, after: tuple[int, int]) -> Any:
    return or_(
        columns.attempt > after[0], and_(columns.attempt == after[0], columns.last > after[1])
    )


def _read(connection: Connection, query: Any) -> list[Event]:
    return [_event(row) for row in connection.execute(query).mappings()]


def _chunk(row: RowMapping) -> LogChunk:
    file = FileRecord(
        name=row["key"].rsplit("/", 1)[-1],
        key=row["key"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
    )
    return LogChunk(row["run_uid"], row["attempt"], row["first"], row["last"], file)


def _chunk_row(chunk: LogChunk) -> dict[str, Any]:
    return {
        "run_uid": chunk.run_uid,
        "attempt": chunk.attempt,
        "first": chunk.first,
        "last": chunk.last,
        "key": chunk.file.key,
        "size_bytes": chunk.file.size_bytes,
        "sha256": chunk.file.sha256,
    }
