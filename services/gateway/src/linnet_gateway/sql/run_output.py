"""Output and artifacts of ended runs, which may go before the record does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, select, update

from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import load_files, to_us
from linnet_gateway.sql.runs import doom


def old_logs(which: ColumnElement[bool], limit: int) -> Select[Any]:
    """Select some runs that have stored output."""
    chunks = schema.log_chunks.c
    return (
        select(chunks.run_uid)
        .join_from(schema.log_chunks, schema.runs, schema.runs.c.uid == chunks.run_uid)
        .where(which)
        .distinct()
        .limit(limit)
    )


def forget_logs(connection: Connection, old: Select[Any], now: datetime) -> int:
    """Forget the stored output of some runs, doom it, and say of how many."""
    chunks = schema.log_chunks.c
    uids = connection.execute(old).scalars().all()
    of_old = chunks.run_uid.in_(uids)
    keys = connection.execute(select(chunks.key).where(of_old)).scalars()
    doom(connection, list({key.rpartition("/")[0] + "/" for key in keys}), now)
    connection.execute(delete(schema.log_chunks).where(of_old))
    _note(connection, uids, "log_delete_time", now)
    return len(uids)


def old_artifacts(which: ColumnElement[bool], limit: int) -> Select[Any]:
    """Select some runs that have artifacts."""
    columns = schema.runs.c
    kept = and_(columns.artifacts_delete_time.is_(None), columns.artifacts != "[]")
    return select(columns.uid).where(kept, which).limit(limit)


def forget_artifacts(connection: Connection, old: Select[Any], now: datetime) -> int:
    """Forget the artifacts of some runs, doom them, and say of how many runs."""
    columns = schema.runs.c
    uids = connection.execute(old).scalars().all()
    named = (columns.project, columns.id, columns.uid, columns.attempt, columns.artifacts)
    for row in connection.execute(select(*named).where(columns.uid.in_(uids))).all():
        prefix = f"projects/{row.project}/runs/{row.id}-{row.uid}"
        # What an attempt printed stays when its folder goes.
        attempt = f"{prefix}/attempts/{row.attempt}/"
        keys = [file.key for file in load_files(row.artifacts)]
        others = [key for key in keys if not key.startswith(attempt)]
        doom(connection, [attempt, f"{prefix}/explorer", *others], now)
    _note(connection, uids, "artifacts_delete_time", now, artifacts="[]")
    return len(uids)


def _note(
    connection: Connection, uids: Sequence[str], field: str, now: datetime, **values: str
) -> None:
    columns, at = schema.runs.c, to_us(now)
    connection.execute(
        update(schema.runs)
        .where(columns.uid.in_(uids))
        .values({field: at, "version": columns.version + 1, "update_time": at, **values})
    )
