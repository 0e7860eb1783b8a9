"""The audit log in SQL: entries only ever get added, each chained to the one before it."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select

from linnet_gateway.ports import Now
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import from_us, to_us
from linnet_gateway.sql.database import Database

_PAGE = 1000
_FIELDS = ("time", "actor", "method", "resource", "decision")
_GATEWAY = "linnet-gateway"
PRUNED = "PruneAudit"
"""Method of the entry that tells up to which one the log was pruned."""


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
        pruned: Entries that were asked for and can't be proven any more.
    """

    count: int
    last_id: int
    digest: str
    broken: int | None
    pruned: int = 0


class SqlAudit:
    """Where mutating calls are written to."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def write(self, actor: str, method: str, resource: str, decision: str) -> None:
        """Append one entry."""
        entry: list[int | str] = [to_us(self._now()), actor, method, resource, decision]
        await self._database.write(lambda c: _append(c, entry), brief=True)

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
        """Follow the chain from its first entry, or from where it was pruned, to its last.

        Args:
            expected: Digests by the ids of entries that are known to have been there; of those that
                were pruned only the last is known.
        """
        while True:
            begun = await self._database.read(_pruned_to)
            found = await self._follow(begun, expected)
            # What is pruned while it is followed looks as if it had been cut off.
            if found.broken is None or await self._database.read(_pruned_to) == begun:
                return found

    async def _follow(self, begun: tuple[int, str], expected: Mapping[int, str]) -> AuditChain:
        after, digest = begun
        count, pruned = 0, sum(id_ < after for id_ in expected)
        missing = {id_: known for id_, known in expected.items() if id_ >= after}
        if missing.pop(after, digest) != digest:
            return AuditChain(0, after, digest, broken=after, pruned=pruned)
        while rows := await self._page(after):
            for row in rows:
                entry = [row.time, row.actor, row.method, row.resource, row.decision]
                digest = chain(digest, entry)
                known = missing.pop(int(row.id), digest)
                if digest != row.digest or digest != known:
                    return AuditChain(count, after, digest, int(row.id), pruned)
                count, after = count + 1, int(row.id)
        return AuditChain(count, after, digest, min(missing, default=None), pruned)

    async def _page(self, after: int, *wanted: ColumnElement[bool]) -> Sequence[Row[Any]]:
        columns = schema.audit.c
        query = select(schema.audit).where(columns.id > after, *wanted)
        query = query.order_by(columns.id).limit(_PAGE)
        return await self._database.read(lambda connection: connection.execute(query).all())


def _append(connection: Connection, entry: list[int | str]) -> None:
    columns = schema.audit.c
    query = select(columns.digest).order_by(columns.id.desc()).limit(1)
    before = connection.execute(query).scalar() or ""
    values = dict(zip(_FIELDS, entry, strict=True))
    connection.execute(insert(schema.audit).values(**values, digest=chain(before, entry)))


def is_older(connection: Connection, than: datetime) -> bool:
    """Whether the oldest entry is older than a time."""
    columns = schema.audit.c
    oldest = connection.execute(select(columns.time).order_by(columns.id).limit(1)).scalar()
    return oldest is not None and oldest < to_us(than)


def prune(connection: Connection, older_than: datetime, limit: int, now: datetime) -> int:
    """Delete the oldest entries up to the first that is young, and say how many.

    The chain gets an entry that names the last of them with its digest: from there on it proves
    what is kept, and that nobody but the gateway cut it off.
    """
    columns = schema.audit.c
    oldest = select(columns.id, columns.time, columns.digest).order_by(columns.id).limit(limit)
    old = list(takewhile(lambda row: row.time < to_us(older_than), connection.execute(oldest)))
    if old:
        last = old[-1]
        _append(connection, [to_us(now), _GATEWAY, PRUNED, "", f"{last.id}:{last.digest}"])
        connection.execute(delete(schema.audit).where(columns.id <= last.id))
    return len(old)


def _pruned_to(connection: Connection) -> tuple[int, str]:
    """Give id and digest of the last entry that was pruned; 0 and nothing without one."""
    columns = schema.audit.c
    noted = (columns.method == PRUNED) & (columns.actor == _GATEWAY)
    query = select(columns.decision).where(noted).order_by(columns.id.desc()).limit(1)
    found = connection.execute(query).scalar() or "0:"
    number, _, digest = found.partition(":")
    return int(number), digest


def chain(before: str, entry: list[int | str]) -> str:
    """Digest an entry together with the digest before it."""
    return hashlib.sha256(f"{before}{json.dumps(entry)}".encode()).hexdigest()
