"""Since when the output and the artifacts of a run are gone, where retention took them.

Expands only: an earlier release leaves the times empty and takes output without a word.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for name in ("log_delete_time", "artifacts_delete_time"):
        op.add_column("runs", sa.Column(name, sa.BigInteger()))
