"""Indexes of runs whose cancelling was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes, which hold no more than such runs."""
    for name, column, condition in (
        ("runs_cancelling", "cancel_time", "state < 5 AND cancel_time IS NOT NULL"),
        ("runs_cancelled", "launch_uid", "cancel_time IS NOT NULL"),
    ):
        op.create_index(
            name,
            "runs",
            [column],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
