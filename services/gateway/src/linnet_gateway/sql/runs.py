"""Runs in SQL."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from linnet_runtime.errors import AlreadyExists, NotAllowedInState, NotFound
from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from linnet_gateway.ports import Now
from linnet_gateway.queries import Found, Page, RunFilter
from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import RUN_FIELDS, EventKind, RunRecord, altered, run_values
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, load_run, run_columns, to_us
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.new_runs import add_runs, check_room
from linnet_gateway.sql.prepared import Prepared
from linnet_gateway.sql.run_lists import list_runs
from linnet_gateway.sql.runs_in_use import user_of
from linnet_gateway.states import LIVE, sources

_QUIET = {"log_sequence", "progress", "memory_bytes", "time_used", "last_report_time", "checkpoint"}
"""Fields whose change makes no new version."""


_BY_UID = Prepared(SELECT_RUNS.where(schema.runs.c.uid == bindparam("of_uid")))
_BY_NAME = Prepared(
    SELECT_RUNS.where(
        schema.runs.c.project == bindparam("of_project"), schema.runs.c.id == bindparam("of_id")
    )
)
ADD_EVENT = Prepared(
    insert(schema.events).inline(), [c.name for c in schema.events.c if c.name != "id"]
)


@cache
def update_of(names: tuple[str, ...]) -> Prepared:
    """Give the statement that sets some columns; built once, since building takes the longest."""
    statement = update(schema.runs).where(schema.runs.c.uid == bindparam("of_uid"))
    return Prepared(statement.values({name: bindparam(name) for name in names}))


def read_runs(connection: Connection, query: Select[Any]) -> list[RunRecord]:
    """Read the runs that a query on the whole table selects."""
    return [load_run(row) for row in connection.execute(query)]


def get_run(connection: Connection, uid: str) -> RunRecord:
    """Read one run; raises `NotFound`."""
    row = _BY_UID.first(connection, {"of_uid": uid})
    if row is None:
        raise NotFound("run", uid)
    return load_run(row)


def write_change(
    connection: Connection, old: RunRecord, new: RunRecord, now: datetime
) -> RunRecord:
    """Write what differs between two states of a run, with an event.

    Raises:
        NotAllowedInState: The states do not allow the move.
    """
    if old.state is not new.state and old.state not in sources(new.state):
        raise NotAllowedInState(
            f"run {old.name} is {old.state.name} and can't become {new.state.name}",
            metadata={"run": old.name, "state": old.state.name},
        )
    changes: dict[str, Any] = {
        name: after
        for name, before_, after in zip(RUN_FIELDS, run_values(old), run_values(new), strict=True)
        if before_ is not after and before_ != after
    }
    if not changes:
        return old
    columns = run_columns(changes)
    if not changes.keys() <= _QUIET:
        columns |= {"version": old.version + 1, "update_time": to_us(now)}
    if "comparison" in changes:
        columns["verdict"] = _verdict(new.comparison)
    update_of(tuple(columns)).run(connection, columns | {"of_uid": old.uid})
    if not changes.keys() <= _QUIET:
        add_event(connection, EventKind.RUN, old.uid, old.batch_uid, now)
    doom(connection, _leftovers(old, new), now)
    if "version" not in columns:
        return new
    return altered(new, version=old.version + 1, update_time=now)


def _leftovers(old: RunRecord, new: RunRecord) -> list[str]:
    """Give prefixes of what a run needs no more: checkpoints, and at last lost attempts."""
    if new.state.terminal and not old.state.terminal:
        kept = new.attempt if new.artifacts else 0
        return [f"{new.prefix}/attempts/{n}/" for n in range(1, new.attempt + 1) if n != kept]
    if old.checkpoint and not new.checkpoint:
        return [f"{new.prefix}/attempts/{new.attempt}/checkpoint/"]
    return []


def doom(connection: Connection, prefixes: Sequence[str], now: datetime) -> None:
    """Have the objects of prefixes deleted; output below `log/` stays while its run does."""
    if not prefixes:
        return
    known = set(
        connection.execute(
            select(schema.doomed_objects.c.prefix).where(
                schema.doomed_objects.c.prefix.in_(prefixes)
            )
        ).scalars()
    )
    rows = [{"prefix": p, "create_time": to_us(now)} for p in prefixes if p not in known]
    if rows:
        connection.execute(insert(schema.doomed_objects), rows)


def _verdict(comparison: bytes) -> int:
    from linnet.v1 import run_pb2

    return int(run_pb2.Comparison.FromString(comparison).verdict)


def add_event(
    connection: Connection, kind: EventKind, subject: str, batch_uid: str | None, now: datetime
) -> None:
    """Tell readers that something changed."""
    ADD_EVENT.run(
        connection,
        {
            "kind": int(kind),
            "subject": subject,
            "batch_uid": batch_uid,
            "attempt": 0,
            "first": 0,
            "last": 0,
            "create_time": to_us(now),
            "payload": b"",
        },
    )


class SqlRuns:
    """Records of runs."""

    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    async def create(self, run: RunRecord, quota: Quota | None = None) -> RunRecord:
        """Store a new run, or give the one that the same request made before."""

        def work(connection: Connection) -> RunRecord:
            known = _requested(connection, run.project, run.request_id, run.spec_digest)
            if known is not None:
                return known
            if _id_taken(connection, run.project, run.id):
                raise AlreadyExists(
                    f"run {run.name!r} exists", metadata={"name": run.name}, reason="RUN_EXISTS"
                )
            add_runs(connection, [run], quota)
            add_event(connection, EventKind.RUN, run.uid, run.batch_uid, self._now())
            return run

        return await self._database.write(work)

    async def requested(self, project: str, request_id: str, digest: str) -> RunRecord | None:
        """Read the run that a request made before; None if it made none."""
        return await self._database.look_up(lambda c: _requested(c, project, request_id, digest))

    async def get(self, project: str, id_: str) -> RunRecord:
        """Read one; raises `NotFound`."""
        values = {"of_project": project, "of_id": id_}
        row = await self._database.look_up(lambda c: _BY_NAME.first(c, values))
        if row is None:
            raise NotFound("run", f"projects/{project}/runs/{id_}")
        return load_run(row)

    async def get_uid(self, uid: str) -> RunRecord:
        """Read one by its uid; raises `NotFound`."""
        return await self._database.look_up(lambda c: get_run(c, uid))

    async def get_uids(self, uids: Collection[str]) -> Sequence[RunRecord]:
        """Read those of some uids that exist."""
        query = SELECT_RUNS.where(schema.runs.c.uid.in_(uids))
        return await self._database.look_up(lambda c: read_runs(c, query))

    async def list(self, project: str, page: Page, which: RunFilter) -> Found[RunRecord]:
        """List a page, newest first."""
        return await self._database.read(lambda c: list_runs(c, project, page, which))

    async def check_room(self, project: str, more: Held, quota: Quota) -> None:
        """Refuse runs that a project has no room for; raises `QuotaExceeded`."""
        await self._database.read(lambda c: check_room(c, project, more, quota, None))

    async def change(self, uid: str, decide: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """Change one; a move that the states do not allow raises `NotAllowedInState`."""

        def work(connection: Connection) -> RunRecord:
            old = get_run(connection, uid)
            return write_change(connection, old, decide(old), self._now())

        return await self._database.write(work, brief=True)

    async def delete(self, uid: str, now: datetime) -> None:
        """Delete one with its events, epochs and log, and doom its objects."""

        def work(connection: Connection) -> None:
            run = get_run(connection, uid)
            if run.state in LIVE:
                raise NotAllowedInState(
                    f"run {run.name} is {run.state.name}; cancel it first",
                    metadata={"run": run.name, "state": run.state.name},
                )
            user = user_of(connection, run)
            if user is not None:
                raise NotAllowedInState(
                    f"run {user!r}, which is not terminal, starts from run {run.name} or is "
                    "compared with it",
                    reason="RUN_IN_USE",
                    metadata={"run": run.name, "user": user},
                )
            delete_runs(connection, [run], now)

        await self._database.write(work)


def delete_runs(connection: Connection, runs: Sequence[RunRecord], now: datetime) -> None:
    """Delete runs with everything that hangs on them, and doom their objects."""
    uids = [run.uid for run in runs]
    connection.execute(delete(schema.events).where(schema.events.c.subject.in_(uids)))
    connection.execute(delete(schema.epochs).where(schema.epochs.c.run_uid.in_(uids)))
    connection.execute(delete(schema.log_chunks).where(schema.log_chunks.c.run_uid.in_(uids)))
    connection.execute(delete(schema.runs).where(schema.runs.c.uid.in_(uids)))
    doom(connection, [f"{run.prefix}/" for run in runs], now)


def _requested(
    connection: Connection, project: str, request_id: str | None, digest: str
) -> RunRecord | None:
    if request_id is None:
        return None
    columns = schema.runs.c
    found = read_runs(
        connection,
        SELECT_RUNS.where(columns.project == project, columns.request_id == request_id),
    )
    if not found:
        return None
    if found[0].spec_digest != digest:
        raise AlreadyExists(
            f"request id {request_id!r} was used for another run, {found[0].name}",
            reason="REQUEST_ID_REUSED",
            metadata={"request_id": request_id, "name": found[0].name},
        )
    return found[0]


def _id_taken(connection: Connection, project: str, id_: str) -> bool:
    columns = schema.runs.c
    query = select(columns.uid).where(columns.project == project, columns.id == id_)
    return connection.execute(query).first() is not None
