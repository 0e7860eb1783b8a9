"""Reads of many runs whose specs may be large: as many at a time as memory is given for."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, literal, null, select

from linnet_gateway.records import RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, SPEC_BYTES, load_run

_LEFT_OUT: dict[str, ColumnElement[Any]] = {
    "spec": literal(b"", LargeBinary).label("spec"),
    "script": null().label("script"),
}
SELECT_BARE_RUNS = SELECT_RUNS.with_only_columns(
    *(_LEFT_OUT.get(str(column.key), column) for column in SELECT_RUNS.selected_columns)
)
"""Runs with an empty spec, for whoever looks at thousands of them; a change reads them anew."""
BYTES_TOGETHER = 4 * 1024 * 1024
"""Specs that are read together; one that is larger comes alone."""


def read_some(
    connection: Connection, which: Sequence[ColumnElement[bool]], order: Any, limit: int
) -> list[RunRecord]:
    """Read the first of some runs: at most so many, fewer where their specs are large."""
    columns = schema.runs.c
    sizes = select(columns.uid, SPEC_BYTES).where(*which).order_by(order)
    uids: list[str] = []
    size_bytes = 0
    for uid, spec_bytes in connection.execute(sizes.limit(limit)):
        size_bytes += spec_bytes
        if uids and size_bytes > BYTES_TOGETHER:
            break
        uids.append(uid)
    if not uids:
        return []
    query = SELECT_RUNS.where(columns.uid.in_(uids)).order_by(order)
    return [load_run(row) for row in connection.execute(query)]
