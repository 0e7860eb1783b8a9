"""Adds runs to the tables, within what their project may have."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.shared_scripts import parted
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
    rows, scripts = _rows(connection, runs)
    more = Held(len(runs), sum(row["spec_bytes"] for row in rows))
    check_room(connection, runs[0].project, more, quota, batch)
    if scripts:
        connection.execute(insert(schema.batch_scripts), scripts)
    connection.execute(insert(schema.runs), rows)
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


def _rows(
    connection: Connection, runs: Sequence[RunRecord]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the rows of runs, and those of scripts that their batch does not have yet."""
    parts = [parted(run) for run in runs]
    digests = {part.digest for part in parts if part is not None}
    known = _known_scripts(connection, runs[0].batch_uid, digests) if digests else set()
    rows, scripts = [], []
    for run, part in zip(runs, parts, strict=True):
        row = run_row(run) | {"script_digest": "", "spec_bytes": len(run.spec)}
        if part is not None:
            row |= {"spec": part.spec, "script_digest": part.digest, "spec_bytes": len(part.spec)}
            if part.digest not in known:
                known.add(part.digest)
                values = {"digest": part.digest, "script": part.script}
                scripts.append({"batch_uid": run.batch_uid, **values})
                # The run that brings it is charged with it.
                row["spec_bytes"] += len(part.script)
        rows.append(row)
    return rows, scripts


def _known_scripts(
    connection: Connection, batch_uid: str | None, digests: Collection[str]
) -> set[str]:
    columns = schema.batch_scripts.c
    query = select(columns.digest).where(
        columns.batch_uid == batch_uid, columns.digest.in_(digests)
    )
    return set(connection.execute(query).scalars())


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
