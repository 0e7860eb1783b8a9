"""What the limits and lists of a project look at: sizes of specs, and its runs by state and batch.

Expands only: an earlier release leaves the sizes at 0, and its runs are charged by number alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("runs", sa.Column("spec_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "batches", sa.Column("spec_bytes", sa.BigInteger(), nullable=False, server_default="0")
    )
    _add_index(
        "runs_live_of_project",
        ["project", "state", "create_time", "uid", "spec_bytes"],
        "state < 5",
    )
    _add_index("runs_ended_of_project", ["project", "state", "create_time", "uid"], "state >= 5")
    _add_index(
        "runs_of_batch_by_time", ["batch_uid", "create_time", "uid"], "batch_uid IS NOT NULL"
    )


def _add_index(name: str, columns: list[str], which: str) -> None:
    rows = sa.text(which)
    op.create_index(name, "runs", columns, sqlite_where=rows, postgresql_where=rows)
