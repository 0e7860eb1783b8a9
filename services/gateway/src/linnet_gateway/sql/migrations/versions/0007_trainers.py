"""Which trainer process holds a run: what ended another one is not charged to it.

Expands only: an earlier release leaves the name empty, as trainers of it do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("runs", sa.Column("trainer", sa.Text(), nullable=False, server_default=""))
