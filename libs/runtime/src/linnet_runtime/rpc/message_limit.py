"""How large a message may be."""

from linnet_runtime.errors import QuotaExceeded

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Largest message that is served; files never travel in messages."""
MAX_READ_BYTES = 2 * MAX_MESSAGE_BYTES
"""Where the transport stops reading, which it does without telling anybody here."""
TOO_LARGE = "MESSAGE_TOO_LARGE"


def too_large(size: str) -> QuotaExceeded:
    """Give the error of a message whose size, in bytes, is beyond the limit."""
    return QuotaExceeded(
        f"expected a message of at most {MAX_MESSAGE_BYTES} bytes, received {size}",
        reason=TOO_LARGE,
        metadata={"limit_bytes": str(MAX_MESSAGE_BYTES), "size_bytes": size},
    )


def check_size(size_bytes: int) -> None:
    """Refuse a message that is too large to be looked at; raises `QuotaExceeded`."""
    if size_bytes > MAX_MESSAGE_BYTES:
        raise too_large(str(size_bytes))
