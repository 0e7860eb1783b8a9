"""Runs migrations for `linnet_gateway.sql.migrate`."""

from alembic import context
from sqlalchemy import create_engine, text

from linnet_gateway.sql.schema import metadata

_LOCK = 0x6D696772
"""Key of the advisory lock under which replicas migrate one after the other: "migr"."""


def _run() -> None:
    engine = create_engine(context.config.attributes["url"])
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


_run()
