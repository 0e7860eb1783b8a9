"""Brings a database to the schema that this gateway needs.

Migrations only add: release N-1 runs on the schema of release N, so that a rollback needs none.
"""

from pathlib import Path

from sqlalchemy import create_engine, inspect, text

# Revisions are numbers of four digits: they compare as text.
HEAD = "0010"
_FOLDER = Path(__file__).parent / "migrations"


def current(url: str) -> str | None:
    """Give the revision that a database is at; None if it is empty."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    finally:
        engine.dispose()


def upgrade(url: str, revision: str = "head") -> None:
    """Apply every migration that a database lacks; does nothing where none is lacking.

    A database that is ahead of this release was brought there by a later one: after a rollback it
    stays as it is, since migrations only add.
    """
    # Alembic takes a quarter of a second to import: only a database that lags behind pays it.
    if revision == "head" and (current(url) or "") >= HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["url"] = url
    command.upgrade(config, revision)
    # Who connects first finds it so: to change it then would fail where somebody writes already.
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
    engine.dispose()
