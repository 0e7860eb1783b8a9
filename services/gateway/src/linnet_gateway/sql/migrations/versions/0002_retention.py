"""An index by which retention finds runs that ended long ago.

Expands only: release 1 runs on it as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    ended = sa.text("end_time IS NOT NULL")
    op.create_index("runs_by_end", "runs", ["end_time"], sqlite_where=ended, postgresql_where=ended)
