"""The audit log in SQL: entries only ever get added, each chained to the one before it."""

import hashlib
import json

from sqlalchemy import Connection, insert, select

from linnet_gateway.ports import Now
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import to_us
from linnet_gateway.sql.database import Database


class SqlAudit:
    """Where mutating calls are written to."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def write(self, actor: str, method: str, resource: str, decision: str) -> None:
        """Append one entry."""
        time_us = to_us(self._now())

        def work(connection: Connection) -> None:
            columns = schema.audit.c
            query = select(columns.digest).order_by(columns.id.desc()).limit(1)
            before = connection.execute(query).scalar() or ""
            entry: list[int | str] = [time_us, actor, method, resource, decision]
            connection.execute(
                insert(schema.audit).values(
                    time=time_us,
                    actor=actor,
                    method=method,
                    resource=resource,
                    decision=decision,
                    digest=chain(before, entry),
                )
            )

        await self._database.write(work)

    async def verify(self) -> int | None:
        """Give the id of the first entry that was changed or lacks the one before it, if any."""

        def work(connection: Connection) -> int | None:
            digest = ""
            for row in connection.execute(select(schema.audit).order_by(schema.audit.c.id)):
                entry = [row.time, row.actor, row.method, row.resource, row.decision]
                digest = chain(digest, entry)
                if digest != row.digest:
                    return int(row.id)
            return None

        return await self._database.read(work)


def chain(before: str, entry: list[int | str]) -> str:
    """Digest an entry together with the digest before it."""
    return hashlib.sha256(f"{before}{json.dumps(entry)}".encode()).hexdigest()
