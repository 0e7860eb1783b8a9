"""How large a message may be, and how one that is larger is told from one that is not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from linnet_runtime.errors import QuotaExceeded

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message that is served; files never travel in messages."""
MAX_READ_BYTES = 2 * MAX_MESSAGE_BYTES
"""Where the transport stops reading, which it does without telling anybody here."""


@dataclass(frozen=True, slots=True)
class Oversize:
    """Stands for a request that was read and is too large to be looked at."""

    size_bytes: int

    def refusal(self) -> QuotaExceeded:
        """Give the error that it is answered with."""
        return QuotaExceeded(
            f"expected a message of at most {MAX_MESSAGE_BYTES} bytes, received {self.size_bytes}",
            reason="MESSAGE_TOO_LARGE",
            metadata={"limit_bytes": str(MAX_MESSAGE_BYTES), "size_bytes": str(self.size_bytes)},
        )


def limited(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Make a deserializer that leaves messages alone that are too large."""

    def read(data: bytes) -> Any:
        return Oversize(len(data)) if len(data) > MAX_MESSAGE_BYTES else deserialize(data)

    return read
