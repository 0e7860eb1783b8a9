"""What a batch was asked for, as a digest: a request id used for another is refused.

Expands only: an earlier release leaves it empty, and then it is not compared.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    column = sa.Column("request_digest", sa.Text(), nullable=False, server_default="")
    op.add_column("batches", column)
