"""Adds runs to the tables, within what their project may have."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import run_row


def live_of(connection: Connection, project: str) -> Held:
    """Sum up the runs of a project that are not terminal."""
    columns = schema.runs.c
    query = select(func.count(), func.coalesce(func.sum(columns.spec_bytes), 0)).where(
        columns.project == project, schema.LIVE_RUN
    )
    row = connection.execute(query).one()
    return Held(int(row[0]), int(row[1]))


def add_runs(
    connection: Connection,
    runs: Sequence[RunRecord],
    quota: Quota | None,
    batch: BatchRecord | None = None,
) -> None:
    """Insert runs of one project, and charge their batch, if any, with their specs.

    Raises:
        QuotaExceeded: The project, or the batch, would have too much; nothing is stored.
    """
    more = Held(len(runs), sum(len(run.spec) for run in runs))
    check_room(connection, runs[0].project, more, quota, batch)
    connection.execute(
        insert(schema.runs), [run_row(run) | {"spec_bytes": len(run.spec)} for run in runs]
    )
    if batch is not None:
        columns = schema.batches.c
        connection.execute(
            update(schema.batches)
            .where(columns.uid == batch.uid)
            .values(
                run_count=columns.run_count + more.runs,
                spec_bytes=columns.spec_bytes + more.spec_bytes,
            )
        )


def check_room(
    connection: Connection, project: str, more: Held, quota: Quota | None, batch: BatchRecord | None
) -> None:
    """Refuse runs for which project or batch have no room; raises `QuotaExceeded`."""
    if quota is None:
        return
    quota.check(project, live_of(connection, project), more)
    if batch is not None:
        columns = schema.batches.c
        held = connection.execute(select(columns.spec_bytes).where(columns.uid == batch.uid))
        quota.check_batch(batch.name, int(held.scalar() or 0), more.spec_bytes)
