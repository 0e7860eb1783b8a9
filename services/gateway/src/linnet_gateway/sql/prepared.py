"""Statements that run several times a run, given to the driver as they are.

SQLAlchemy builds them, once a dialect. To execute one costs it five times what SQLite needs to find
a row by its key, and a run of a batch is read and written two dozen times.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError


class Prepared:
    """One statement; its bound values are named, and columns come as the driver gives them.

    Args:
        statement: A select, or an insert or update that gives nothing back.
        columns: What an insert sets.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._forms: dict[str, tuple[str, Mapping[str, Any], Sequence[str] | None]] = {}

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """Give the first row that it selects."""
        cursor = self._execute(connection, values)
        row: Sequence[Any] | None = cursor.fetchone()
        cursor.close()
        return row

    def run(self, connection: Connection, values: Mapping[str, Any]) -> None:
        """Execute it."""
        self._execute(connection, values).close()

    def run_all(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute it for each row, without waiting for one answer after the other."""
        text, own, places = self._form(connection)
        bound = [_bound({**own, **row}, places) for row in rows]
        self._call(connection, "executemany", text, bound).close()

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        text, own, places = self._form(connection)
        return self._call(connection, "execute", text, _bound({**own, **values}, places))

    def _call(self, connection: Connection, how: str, text: str, bound: Any) -> Any:
        if not connection.in_transaction():
            connection.begin()
        cursor = connection.connection.cursor()
        faults = connection.dialect.loaded_dbapi.Error
        try:
            getattr(cursor, how)(text, bound)
        except faults as error:
            cursor.close()
            raise DBAPIError.instance(
                text, bound, error, faults, dialect=connection.dialect
            ) from error
        return cursor

    def _form(self, connection: Connection) -> tuple[str, Mapping[str, Any], Sequence[str] | None]:
        """Give its text, its own values, and the order of all where the driver wants one."""
        form = self._forms.get(connection.dialect.name)
        if form is None:
            compiled = self._statement.compile(  # type: ignore[attr-defined]  # of every statement
                dialect=connection.dialect, column_keys=self._columns
            )
            asked = [name for name, bind in compiled.binds.items() if bind.required]
            own = compiled.construct_params(dict.fromkeys(asked))
            own = {name: value for name, value in own.items() if name not in asked}
            form = self._forms[connection.dialect.name] = (str(compiled), own, compiled.positiontup)
        return form


def _bound(named: Mapping[str, Any], places: Sequence[str] | None) -> Any:
    return named if places is None else [named[name] for name in places]
