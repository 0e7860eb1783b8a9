"""Which schema a database has, by the errors that a process can start with."""

from collections.abc import Iterator
from contextlib import contextmanager

from linnet_runtime.errors import InvalidInput, Unavailable
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from linnet_gateway.sql import migrate

_CONNECT_S = 5


def bring(url: str) -> tuple[str, str]:
    """Apply the migrations that a database lacks.

    Replicas and commands that do so at once do it one after the other.

    Returns:
        The revision before, empty for an empty database, and the one after.

    Raises:
        InvalidInput: The URL names no database.
        Unavailable: The database can't be reached.
    """
    with _told(url) as bounded:
        before = migrate.current(bounded) or ""
        migrate.upgrade(bounded)
        return before, migrate.current(bounded) or ""


def require(url: str) -> None:
    """Make sure that a database has this release's schema, or a later one's.

    Raises:
        InvalidInput: The URL names no database.
        Unavailable: The database can't be reached, or its schema is older (SCHEMA_TOO_OLD).
    """
    with _told(url) as bounded:
        found = migrate.current(bounded) or ""
    if found < migrate.HEAD:
        raise Unavailable(
            f"the database's schema: expected {migrate.HEAD} or later, received "
            f"{found or 'an empty database'}; `linnet-gateway migrate` of this release brings it "
            "there, which the chart does before it installs or upgrades",
            reason="SCHEMA_TOO_OLD",
        )


@contextmanager
def _told(url: str) -> Iterator[str]:
    """Give the URL with a limit on connecting, and say what errors mean without showing it."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql" and "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": str(_CONNECT_S)})
        yield parsed.render_as_string(hide_password=False)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InvalidInput.of(
            "database_url",
            "expected `sqlite:////path` or `postgresql+psycopg://user:password@host/name`",
        ) from error
    except DBAPIError as error:
        if "unable to open database file" in str(error.orig):
            raise InvalidInput.of(
                "database_url", "expected a file in a folder that can be written to"
            ) from error
        raise Unavailable(
            f"the database can't be reached: {str(error.orig).strip()}",
            reason="DATABASE_UNAVAILABLE",
        ) from error
