"""Pages of lists: opaque tokens, signed and bound to the list's arguments, and bounded size."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from linnet_runtime.errors import InvalidInput

from linnet_gateway.queries import Found, Page

DEFAULT_SIZE = 50
MAX_SIZE = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Where a page ends early: a run with a script is large, and a message is 8 MiB at most."""
_STEP = 100
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
M = TypeVar("M", bound=Message)


class Pager:
    """Reads pages and makes their tokens, with a key that all replicas share."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def page(
        self,
        size: int,
        token: str,
        arguments: Sequence[str],
        read: Callable[[Page], Awaitable[Sequence[R]]],
        message: Callable[[R], M],
    ) -> tuple[list[M], str]:
        """Give a page of messages and the next page's token; empty on the last page.

        Args:
            size: 0 means 50, above 1000 means 1000.
            token: From the page before, or empty.
            arguments: Every other argument of the list.
            read: Reads so many records after a place.
            message: Makes the message of a record.

        Raises:
            InvalidInput: The token is broken, forged, or belongs to a list with other arguments.
        """
        count = min(size or DEFAULT_SIZE, MAX_SIZE)
        after = self._read(token, arguments) if token else None
        kept: list[M] = []
        size_bytes = 0
        while True:
            # One record more than fits tells whether there is a next page.
            step = min(_STEP, count - len(kept)) + 1
            records = await read(Page(step, after))
            for record in records[: step - 1]:
                made = message(record)
                size_bytes += made.ByteSize()
                if kept and size_bytes > MAX_PAGE_BYTES:
                    assert after is not None
                    return kept, self._token(after, arguments)
                kept.append(made)
                after = (record.create_time, record.uid)
            if isinstance(records, Found) and records.reached is not None:
                return kept, self._token(records.reached, arguments)
            if len(records) < step:
                return kept, ""
            if len(kept) == count:
                assert after is not None
                return kept, self._token(after, arguments)

    def _token(self, after: tuple[datetime, str], arguments: Sequence[str]) -> str:
        body: list[int | str] = [(after[0] - _EPOCH) // timedelta(microseconds=1), after[1]]
        signed = [*body, self._signature(body, arguments)]
        return base64.urlsafe_b64encode(json.dumps(signed).encode()).decode()

    def _signature(self, body: Sequence[int | str], arguments: Sequence[str]) -> str:
        text = json.dumps([*body, *arguments]).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:32]

    def _read(self, token: str, arguments: Sequence[str]) -> tuple[datetime, str]:
        try:
            microseconds, uid, signature = json.loads(base64.urlsafe_b64decode(token.encode()))
            body: list[int | str] = [int(microseconds), str(uid)]
            after = _EPOCH + timedelta(microseconds=int(microseconds))
            genuine = hmac.compare_digest(str(signature), self._signature(body, arguments))
        except (ValueError, TypeError, OverflowError, RecursionError):
            genuine = False
        if not genuine:
            raise InvalidInput.of(
                "page_token",
                "expected the token of the page before, with the same parent and filter",
                reason="BAD_PAGE_TOKEN",
            )
        return after, str(uid)
