"""The tables. Times are microseconds since 1970 in UTC; documents are JSON text."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

metadata = MetaData()

# SQLite numbers rows by itself only in a column that is declared INTEGER.
Sequence = BigInteger().with_variant(Integer(), "sqlite")

datasets = Table(
    "datasets",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", Text, nullable=False),
    # No part of the document: an earlier release reads only what it knows there.
    Column("validation_count", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("project", "id"),
    Index("datasets_by_time", "project", "create_time", "uid"),
)

batches = Table(
    "batches",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("request_id", Text),
    Column("shard_size", Integer, nullable=False),
    Column("parallelism", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("run_count", Integer, nullable=False),
    Column("end_time", BigInteger),
    Column("cancel_time", BigInteger),
    Column("request_digest", Text, nullable=False, server_default=""),
    # Of the specs of all its runs.
    Column("spec_bytes", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("project", "id"),
    UniqueConstraint("project", "request_id"),
    Index("batches_by_time", "project", "create_time", "uid"),
    Index(
        "batches_live", "state", sqlite_where=text("state < 4"), postgresql_where=text("state < 4")
    ),
)

runs = Table(
    "runs",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("cancel_time", BigInteger),
    Column("last_report_time", BigInteger),
    Column("state", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("request_id", Text),
    Column("display_name", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("spec_digest", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("predecessor", Text, nullable=False),
    Column("batch_uid", Text),
    Column("batch_id", Text, nullable=False),
    Column("batch_index", Integer, nullable=False),
    Column("retry_of", Text, unique=True),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("attempt_open", Boolean, nullable=False),
    Column("lost_count", Integer, nullable=False),
    Column("launch_count", Integer, nullable=False),
    Column("launch_uid", Text),
    Column("shard", Integer, nullable=False),
    Column("log_sequence", BigInteger, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("time_used", BigInteger, nullable=False),
    Column("progress", LargeBinary, nullable=False),
    Column("summary", LargeBinary, nullable=False),
    Column("comparison", LargeBinary, nullable=False),
    Column("verdict", Integer, nullable=False),
    Column("failure_reason", Integer, nullable=False),
    Column("failure", Text),
    Column("stages", Text, nullable=False),
    Column("artifacts", Text, nullable=False),
    Column("checkpoint", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("waiting", Text, nullable=False),
    Column("cpu_millis", Integer, nullable=False),
    Column("memory_limit_bytes", BigInteger, nullable=False),
    Column("deadline", BigInteger),
    Column("expert", Boolean, nullable=False),
    Column("spec_bytes", Integer, nullable=False, server_default="0"),
    Column("init_from", Text, nullable=False, server_default=""),
    Column("trainer", Text, nullable=False, server_default=""),
    Column("log_delete_time", BigInteger),
    Column("artifacts_delete_time", BigInteger),
    # Of the script that is left out of the spec; empty if it is whole.
    Column("script_digest", Text, nullable=False, server_default=""),
    UniqueConstraint("project", "id"),
    UniqueConstraint("project", "request_id"),
    Index("runs_by_time", "project", "create_time", "uid"),
    Index("runs_by_batch", "batch_uid", "batch_index"),
    Index("runs_by_dataset", "project", "dataset"),
    # Holds all that counting a batch needs.
    Index("runs_counts", "batch_uid", "state", "failure_reason", "verdict"),
    # Retention asks for what ended long ago.
    Index(
        "runs_by_end",
        "end_time",
        sqlite_where=text("end_time IS NOT NULL"),
        postgresql_where=text("end_time IS NOT NULL"),
    ),
    # Which runs may not be deleted yet.
    *(
        Index(
            f"runs_live_{column}",
            column,
            sqlite_where=text(f"state < 5 AND {column} != ''"),
            postgresql_where=text(f"state < 5 AND {column} != ''"),
        )
        for column in ("predecessor", "init_from")
    ),
    # Lists of a state; of live runs also all that limits and metrics count.
    Index(
        "runs_live_of_project",
        "project",
        "state",
        "create_time",
        "uid",
        "spec_bytes",
        sqlite_where=text("state < 5"),
        postgresql_where=text("state < 5"),
    ),
    Index(
        "runs_ended_of_project",
        "project",
        "state",
        "create_time",
        "uid",
        sqlite_where=text("state >= 5"),
        postgresql_where=text("state >= 5"),
    ),
    Index(
        "runs_of_batch_by_time",
        "batch_uid",
        "create_time",
        "uid",
        sqlite_where=text("batch_uid IS NOT NULL"),
        postgresql_where=text("batch_uid IS NOT NULL"),
    ),
    Index("runs_by_launch", "launch_uid", "shard", "batch_index"),
    Index(
        "runs_live",
        "state",
        "launch_uid",
        sqlite_where=text("state < 5"),
        postgresql_where=text("state < 5"),
    ),
    # Asked for in every step of the reconciler, and nearly always none.
    Index(
        "runs_cancelling",
        "cancel_time",
        sqlite_where=text("state < 5 AND cancel_time IS NOT NULL"),
        postgresql_where=text("state < 5 AND cancel_time IS NOT NULL"),
    ),
    Index(
        "runs_cancelled",
        "launch_uid",
        sqlite_where=text("cancel_time IS NOT NULL"),
        postgresql_where=text("cancel_time IS NOT NULL"),
    ),
)

# Scripts that runs of a batch share.
batch_scripts = Table(
    "batch_scripts",
    metadata,
    Column("batch_uid", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("script", LargeBinary, nullable=False),
)

launches = Table(
    "launches",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("batch_uid", Text),
    Column("batch_id", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("launch_time", BigInteger),
    Column("end_time", BigInteger),
    Column("state", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("shard_count", Integer, nullable=False),
    Column("parallelism", Integer, nullable=False),
    Column("cpu_millis", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("deadline", BigInteger),
    Column("expert", Boolean, nullable=False),
    Column("spec_digest", Text, nullable=False),
    Index(
        "launches_live", "state", sqlite_where=text("state < 4"), postgresql_where=text("state < 4")
    ),
    Index("launches_by_batch", "batch_uid"),
)

events = Table(
    "events",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("kind", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("batch_uid", Text),
    Column("attempt", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("events_by_subject", "subject", "kind", "id"),
    # Ids of deleted events must never come back: readers remember the last that they saw.
    sqlite_autoincrement=True,
)

epochs = Table(
    "epochs",
    metadata,
    Column("run_uid", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("run_uid", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("digest", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Objects whose record is gone, until the store has deleted them.
doomed_objects = Table(
    "doomed_objects",
    metadata,
    Column("prefix", Text, primary_key=True),
    Column("create_time", BigInteger, nullable=False),
)

# SQLite uses an index over some rows only where the query holds its condition word for word, so
# these are no bound values.
LIVE_RUN = runs.c.state < literal_column("5")
ENDED_RUN = runs.c.state >= literal_column("5")
LIVE_BATCH = batches.c.state < literal_column("4")
LIVE_LAUNCH = launches.c.state < literal_column("4")
