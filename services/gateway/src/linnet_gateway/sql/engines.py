"""Engines: how each database is connected to and how its transactions begin."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

READERS = 4
BUSY_TIMEOUT_MS = 5_000
_WRITER_LOCK = 0x6C696E6E
"""Key of the advisory lock: "linn"."""


def engine(url: str, *, writes: bool) -> Engine:
    """Make what connects to a database, for reading or for the one writer."""
    if url.startswith("sqlite"):
        return sqlite(url, transactions="BEGIN IMMEDIATE" if writes else "BEGIN")
    made = create_engine(
        url,
        pool_size=1 if writes else READERS,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            # A frozen replica must not hold the writers' lock for ever.
            "options": "-c idle_in_transaction_session_timeout=5000 -c lock_timeout=10000",
        },
    )
    if writes:

        @event.listens_for(made, "begin")
        def lock(connection: Connection) -> None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})

    return made


def sqlite(url: str, *, transactions: str | None) -> Engine:
    """Make what connects to SQLite; `transactions` is how they begin, None if there are none."""
    made = create_engine(
        url,
        pool_size=READERS if transactions == "BEGIN" else 1,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(made, "connect")
    def connected(raw: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late for savepoints; SQLAlchemy's documentation has this.
        raw.isolation_level = None
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA wal_autocheckpoint=4000")

    if transactions is not None:

        @event.listens_for(made, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql(transactions)

    return made
