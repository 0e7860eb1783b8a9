"""What the records forget, in SQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, or_, select

from linnet_gateway.records import EventKind
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.states import RunState


class SqlKeeping:
    """What the records forget."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget_events(self, older_than: datetime) -> None:
        """Delete hints that no reader waits for any more; output stays until it is archived."""
        columns = schema.events.c
        statement = delete(schema.events).where(
            columns.kind != int(EventKind.LOG), columns.create_time < to_us(older_than)
        )
        await self._database.write(lambda c: c.execute(statement).rowcount)

    async def expired_runs(
        self, ended_before: datetime | None, kept: int, limit: int
    ) -> Sequence[str]:
        """Give uids of terminal runs that ended before a time or are beyond the newest `kept`."""
        columns = schema.runs.c
        rank = func.row_number().over(
            partition_by=columns.project, order_by=columns.create_time.desc()
        )
        terminal = (
            select(columns.uid, columns.end_time, rank.label("place"))
            .where(columns.state >= int(RunState.SUCCEEDED))
            .subquery()
        )
        reasons = []
        if ended_before is not None:
            reasons.append(terminal.c.end_time < to_us(ended_before))
        if kept:
            reasons.append(terminal.c.place > kept)
        query = select(terminal.c.uid).where(or_(*reasons)).limit(limit)

        def work(connection: Connection) -> list[str]:
            return [row[0] for row in connection.execute(query)]

        return await self._database.read(work)

    async def doomed(self, limit: int) -> Sequence[str]:
        """Give prefixes whose objects are to be deleted."""
        query = select(schema.doomed_objects.c.prefix).limit(limit)

        def work(connection: Connection) -> list[str]:
            return [row[0] for row in connection.execute(query)]

        return await self._database.read(work)

    async def deleted(self, prefix: str) -> None:
        """Note that the objects of a prefix are gone."""
        statement = delete(schema.doomed_objects).where(schema.doomed_objects.c.prefix == prefix)
        await self._database.write(lambda c: c.execute(statement).rowcount)
