"""Which runs a live run starts from or is compared with: those are not deleted.

Expands only: an earlier release leaves the column empty, and what its runs start from is not kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and an index a use; they hold the live runs that use one, and no other."""
    op.add_column("runs", sa.Column("init_from", sa.Text(), nullable=False, server_default=""))
    for column in ("predecessor", "init_from"):
        rows = sa.text(f"state < 5 AND {column} != ''")
        op.create_index(
            f"runs_live_{column}", "runs", [column], sqlite_where=rows, postgresql_where=rows
        )
