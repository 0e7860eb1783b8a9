"""Where the page of a list begins."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_, true

from linnet_gateway.queries import Page
from linnet_gateway.sql.codec import to_us


def before(page: Page, columns: Any) -> ColumnElement[bool]:
    """Give the condition that a record comes after the page's beginning, newest first."""
    if page.after is None:
        return true()
    time, uid = to_us(page.after[0]), page.after[1]
    # The first part alone is what an index looks for.
    return and_(
        columns.create_time <= time,
        or_(columns.create_time < time, and_(columns.create_time == time, columns.uid < uid)),
    )
