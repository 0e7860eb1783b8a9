"""How batches end in SQL: cancelled as a whole, or with their last run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from linnet_runtime.errors import NotFound
from sqlalchemy import Connection, func, insert, literal, select, update

from linnet_gateway import transitions
from linnet_gateway.records import BatchRecord, EventKind, StageRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, dump_stages, load_batch, to_us
from linnet_gateway.sql.runs import add_event, read_runs, write_change
from linnet_gateway.states import BatchState, RunState, StageKind, StageState

_FILLED = [int(BatchState.RUNNING), int(BatchState.SUSPENDED)]


def get_batch(connection: Connection, uid: str) -> BatchRecord:
    """Read one; raises `NotFound`."""
    query = select(schema.batches).where(schema.batches.c.uid == uid)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("batch", uid)
    return load_batch(row)


def finished_batches(connection: Connection) -> Sequence[str]:
    """Give uids of filled batches that have no live run; runs that were deleted do not count."""
    columns = schema.runs.c
    live = (
        select(columns.uid)
        .where(columns.batch_uid == schema.batches.c.uid, columns.state < int(RunState.SUCCEEDED))
        .exists()
    )
    query = select(schema.batches.c.uid).where(
        schema.LIVE_BATCH, schema.batches.c.state.in_(_FILLED), ~live
    )
    return connection.execute(query).scalars().all()


def end_batches(connection: Connection, now: datetime) -> None:
    """End every filled batch that has no live run, as this transaction sees them."""
    columns = schema.batches.c
    for uid in finished_batches(connection):
        connection.execute(
            update(schema.batches)
            .where(columns.uid == uid)
            .values(state=int(BatchState.DONE), end_time=to_us(now), version=columns.version + 1)
        )
        add_event(connection, EventKind.BATCH, uid, uid, now)


def cancel_batch(connection: Connection, uid: str, now: datetime) -> BatchRecord:
    """Cancel every run that no trainer has, and ask the trainers of the others to stop."""
    at = to_us(now)
    columns = schema.runs.c
    live = (columns.batch_uid == uid) & (columns.state < int(RunState.SUCCEEDED))
    free = live & columns.attempt_open.is_(False)
    # Most have done nothing yet: one statement ends them, of the others each has its own story.
    untouched, begun = free & (columns.attempt == 0), free & (columns.attempt > 0)
    skipped = dump_stages(tuple(StageRecord(k, StageState.SKIPPED) for k in StageKind))
    batch = get_batch(connection, uid)
    if batch.state is BatchState.DONE:
        return batch
    _tell_runs(connection, live, at)
    connection.execute(
        update(schema.runs)
        .where(live)
        .values(cancel_time=func.coalesce(columns.cancel_time, at), update_time=at)
    )
    connection.execute(
        update(schema.runs)
        .where(untouched)
        .values(
            state=int(RunState.CANCELLED),
            end_time=at,
            stages=skipped,
            waiting="",
            version=columns.version + 1,
        )
    )
    for run in read_runs(connection, SELECT_RUNS.where(begun)):
        write_change(connection, run, transitions.cancelled(run, now), now)
    # A batch that was being filled is closed, a suspended one runs to its end.
    connection.execute(
        update(schema.batches)
        .where(schema.batches.c.uid == uid)
        .values(
            state=int(BatchState.RUNNING),
            cancel_time=func.coalesce(schema.batches.c.cancel_time, at),
            version=batch.version + 1,
        )
    )
    add_event(connection, EventKind.BATCH, uid, uid, now)
    return get_batch(connection, uid)


def _tell_runs(connection: Connection, which: Any, at: int) -> None:
    columns = schema.runs.c
    told = select(
        literal(int(EventKind.RUN)),
        columns.uid,
        columns.batch_uid,
        literal(0),
        literal(0),
        literal(0),
        literal(at),
        literal(b""),
    ).where(which)
    names = ("kind", "subject", "batch_uid", "attempt", "first", "last", "create_time", "payload")
    connection.execute(insert(schema.events).from_select(names, told))
