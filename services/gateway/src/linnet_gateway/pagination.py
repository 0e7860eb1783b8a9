"""Opaque page tokens: where the next page begins, bound to the arguments of the list."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from linnet_runtime.errors import InvalidInput

from linnet_gateway.queries import Page

DEFAULT_SIZE = 50
MAX_SIZE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Listed(Protocol):
    """What can stand at the end of a page."""

    @property
    def create_time(self) -> datetime:
        """When it was created."""
        ...

    @property
    def uid(self) -> str:
        """Its uid."""
        ...


R = TypeVar("R", bound=Listed)


def _digest(arguments: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()[:16]


def read_page(size: int, token: str, *arguments: str) -> Page:
    """Read size and token of a request; one more record is asked for than fits the page.

    Args:
        size: 0 means 50, above 1000 means 1000.
        token: From the page before, or empty.
        arguments: Every other argument of the list.

    Raises:
        InvalidInput: The token is broken or belongs to a list with other arguments.
    """
    count = min(size or DEFAULT_SIZE, MAX_SIZE) + 1
    if not token:
        return Page(count)
    try:
        microseconds, uid, digest = json.loads(base64.urlsafe_b64decode(token.encode()))
        after = _EPOCH + timedelta(microseconds=int(microseconds))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput.of(
            "page_token", "expected a token of the page before, received something else"
        ) from error
    if digest != _digest(arguments):
        raise InvalidInput.of(
            "page_token", "expected the same parent and filter as on the page before"
        )
    return Page(count, (after, str(uid)))


def cut(records: Sequence[R], page: Page, *arguments: str) -> tuple[Sequence[R], str]:
    """Cut what was read to the page and make the next page's token; empty on the last page."""
    if len(records) < page.size:
        return records, ""
    kept = records[: page.size - 1]
    last = kept[-1]
    microseconds = (last.create_time - _EPOCH) // timedelta(microseconds=1)
    body = json.dumps([microseconds, last.uid, _digest(arguments)])
    return kept, base64.urlsafe_b64encode(body.encode()).decode()
