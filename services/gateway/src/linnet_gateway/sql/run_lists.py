"""Pages of runs: found by an index, or by looking at so many runs and no more."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from linnet_gateway.queries import Found, Page, RunFilter
from linnet_gateway.records import RunRecord
from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import SELECT_RUNS, from_us, load_run
from linnet_gateway.sql.pages import before
from linnet_gateway.states import LIVE

Condition = Callable[[Any], ColumnElement[bool]]

_SCANNED = 2000
"""Runs that are looked at for one page: some milliseconds, however few of them match."""


def list_runs(
    connection: Connection, project: str, page: Page, which: RunFilter
) -> Found[RunRecord]:
    """Read a page of a project's runs, newest first.

    State and batch have indexes. What has none is looked for among the next few thousand runs: a
    page may end there, with fewer runs than there are and the place where it goes on.
    """
    columns = schema.runs.c
    of_list = _of_list(connection, project, which)
    if of_list is None:
        return Found([])
    indexed, others = [*of_list, *_of_state(which)], _others(connection, which)
    newest = (columns.create_time.desc(), columns.uid.desc())
    if not others:
        query = SELECT_RUNS.where(*indexed, before(page, columns)).order_by(*newest)
        return Found(_read(connection, query.limit(page.size)))
    looked_at = (
        select(columns.uid, columns.create_time, columns.state, columns.dataset, columns.labels)
        .where(*indexed, before(page, columns))
        .order_by(*newest)
        .limit(_SCANNED)
        .subquery()
    )
    matching = (
        select(looked_at.c.uid)
        .where(*(condition(looked_at.c) for condition in others))
        .order_by(looked_at.c.create_time.desc(), looked_at.c.uid.desc())
        .limit(page.size)
    )
    uids = connection.execute(matching).scalars().all()
    runs = _read(connection, SELECT_RUNS.where(columns.uid.in_(uids)).order_by(*newest))
    if len(runs) == page.size:
        return Found(runs)
    last = (
        select(columns.create_time, columns.uid)
        .where(*indexed, before(page, columns))
        .order_by(*newest)
        .offset(_SCANNED - 1)
        .limit(1)
    )
    row = connection.execute(last).first()
    return Found(runs, None if row is None else (from_us(row[0]), row[1]))


def _of_list(
    connection: Connection, project: str, which: RunFilter
) -> list[ColumnElement[bool]] | None:
    """Give the condition of the project's runs or a batch's; None if there is no such batch."""
    if not which.batch:
        return [schema.runs.c.project == project]
    columns = schema.batches.c
    query = select(columns.uid).where(columns.project == project, columns.id == which.batch)
    uid = connection.execute(query).scalar()
    return None if uid is None else [schema.runs.c.batch_uid == uid]


def _of_state(which: RunFilter) -> list[ColumnElement[bool]]:
    """Give the condition of one state, with that of the index that holds it."""
    if len(which.states) != 1 or which.batch:
        return []
    (state,) = which.states
    kind = schema.LIVE_RUN if state in LIVE else schema.ENDED_RUN
    return [kind, schema.runs.c.state == int(state)]


def _others(connection: Connection, which: RunFilter) -> list[Condition]:
    """Give the conditions for which there is no index."""
    others: list[Condition] = []
    if len(which.states) > 1 or (which.states and which.batch):
        states = [int(state) for state in which.states]
        others.append(lambda columns: columns.state.in_(states))
    if which.dataset:
        others.append(lambda columns: columns.dataset == which.dataset)
    if which.labels:
        others.append(lambda columns: _labelled(connection, columns.labels, which.labels))
    return others


def _labelled(
    connection: Connection, document: Any, labels: Mapping[str, str]
) -> ColumnElement[bool]:
    """Give the condition that a document of labels holds some, to the letter."""
    place = func.instr if connection.dialect.name == "sqlite" else func.strpos
    conditions = []
    for key, value in labels.items():
        # Quotes within text are escaped: what stands like this after brace or comma is a pair.
        pair = f"{json.dumps(key)}: {json.dumps(value)}"
        conditions.append(or_(place(document, f"{{{pair}") == 1, place(document, f", {pair}") > 0))
    return and_(*conditions)


def _read(connection: Connection, query: Select[Any]) -> list[RunRecord]:
    return [load_run(row) for row in connection.execute(query)]
