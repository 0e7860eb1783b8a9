"""The audit log in SQL: entries only ever get added, each chained to the one before it."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select

from linnet_gateway.ports import Now
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import from_us, to_us
from linnet_gateway.sql.database import Database

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry, as docs/security.md tells what it says."""

    id: int
    time: datetime
    actor: str
    method: str
    resource: str
    decision: str


@dataclass(frozen=True, slots=True)
class AuditChain:
    """What following the chain found.

    Attributes:
        count: Entries that are as they were written.
        last_id: The last of them; 0 without any.
        digest: Its digest, to be kept elsewhere.
        broken: The first entry that was changed, lacks the one before it, or is gone; if any.
    """

    count: int
    last_id: int
    digest: str
    broken: int | None


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

    async def entries(
        self, project: str = "", since: datetime | None = None
    ) -> AsyncIterator[AuditEntry]:
        """Give entries in order, of one project or of all, from a time on.

        Args:
            project: Only entries that name this project or something in it; empty gives all.
            since: Only entries that are not older.
        """
        columns = schema.audit.c
        wanted = []
        if project:
            name = f"projects/{project}"
            within = columns.resource.startswith(f"{name}/", autoescape=True)
            wanted.append(or_(columns.resource == name, within))
        if since is not None:
            wanted.append(columns.time >= to_us(since))
        after = 0
        while rows := await self._page(after, *wanted):
            for row in rows:
                yield AuditEntry(
                    id=row.id,
                    time=from_us(row.time),
                    actor=row.actor,
                    method=row.method,
                    resource=row.resource,
                    decision=row.decision,
                )
            after = int(rows[-1].id)

    async def verify(self, expected: Mapping[int, str] = MappingProxyType({})) -> AuditChain:
        """Follow the chain from its first entry to its last.

        Args:
            expected: Digests by the ids of entries that are known to have been there.
        """
        digest, count, after = "", 0, 0
        missing = dict(expected)
        while rows := await self._page(after):
            for row in rows:
                entry = [row.time, row.actor, row.method, row.resource, row.decision]
                digest = chain(digest, entry)
                known = missing.pop(int(row.id), digest)
                if digest != row.digest or digest != known:
                    return AuditChain(count, after, digest, broken=int(row.id))
                count, after = count + 1, int(row.id)
        return AuditChain(count, after, digest, broken=min(missing, default=None))

    async def _page(self, after: int, *wanted: ColumnElement[bool]) -> Sequence[Row[Any]]:
        columns = schema.audit.c
        query = select(schema.audit).where(columns.id > after, *wanted)
        query = query.order_by(columns.id).limit(_PAGE)
        return await self._database.read(lambda connection: connection.execute(query).all())


def chain(before: str, entry: list[int | str]) -> str:
    """Digest an entry together with the digest before it."""
    return hashlib.sha256(f"{before}{json.dumps(entry)}".encode()).hexdigest()
