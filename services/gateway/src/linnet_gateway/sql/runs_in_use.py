"""Runs that a live run starts from or is compared with."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column, or_, select

from linnet_gateway.records import RunRecord
from linnet_gateway.sql import schema

_USERS = schema.runs.alias("users")
_LIVE = _USERS.c.state < literal_column("5")
_NONE: ColumnElement[str] = literal_column("''")


def _users(column: ColumnElement[str], name: Any) -> Select[Any]:
    # Word for word the condition of its index, which is no bound value.
    return select(_USERS.c.id).where(_LIVE, column != _NONE, column == name)


def user_of(connection: Connection, run: RunRecord) -> str | None:
    """Give the id of a live run that starts from a run or is compared with it, if there is one."""
    for column in (_USERS.c.init_from, _USERS.c.predecessor):
        found: str | None = connection.execute(_users(column, run.name).limit(1)).scalar()
        if found is not None:
            return found
    return None


def in_use() -> ColumnElement[bool]:
    """Give the condition that a live run starts from a run or is compared with it."""
    runs = schema.runs.c
    name = literal_column("'projects/'").concat(runs.project).concat("/runs/").concat(runs.id)
    return or_(
        _users(_USERS.c.init_from, name).exists(), _users(_USERS.c.predecessor, name).exists()
    )
