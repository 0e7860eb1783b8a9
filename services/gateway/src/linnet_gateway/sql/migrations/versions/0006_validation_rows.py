"""How many rows of a dataset are marked as validation rows.

Expands only: an earlier release leaves the column at 0, and refuses files with such marks.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    column = sa.Column("validation_count", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("datasets", column)
