"""Scripts of batches, each stored once and not in every run.

Expands only: an earlier release finds a script in each spec, but in those that a later release
made one that only fails and says why.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column that points at it."""
    op.create_table(
        "batch_scripts",
        sa.Column("batch_uid", sa.Text(), primary_key=True),
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("script", sa.LargeBinary(), nullable=False),
    )
    op.add_column("runs", sa.Column("script_digest", sa.Text(), nullable=False, server_default=""))
