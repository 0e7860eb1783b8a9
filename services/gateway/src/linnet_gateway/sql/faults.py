"""What databases fail with ⇄ the error tree."""

from typing import Protocol

from linnet_runtime.errors import Internal, InvalidInput, LinnetError, Unavailable
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

ATTEMPTS = 3
"""How often work is tried that a transient fault keeps from its end."""


class TransactionMetrics(Protocol):
    """What is told of transactions."""

    def transaction(self, operation: str, seconds: float) -> None:
        """Count a transaction, `read` or `write`."""
        ...

    def error(self, operation: str, kind: str) -> None:
        """Count an error: `conflict` or `unavailable`."""
        ...


class NoMetrics:
    """Counts nothing."""

    def transaction(self, operation: str, seconds: float) -> None:
        """Count a transaction."""

    def error(self, operation: str, kind: str) -> None:
        """Count an error."""


def translated(error: BaseException, operation: str, metrics: TransactionMetrics) -> LinnetError:
    """Give what callers are told of a fault, and count it."""
    if isinstance(error, LinnetError):
        return error
    if isinstance(error, DataError):
        return InvalidInput.of(
            "request",
            f"expected values that the records can hold, received one that they can't: "
            f"{error.orig}",
            reason="UNSTORABLE_VALUE",
        )
    unavailable = isinstance(error, DBAPIError | PoolTimeoutError)
    metrics.error(operation, "unavailable" if unavailable else "internal")
    if unavailable:
        return Unavailable(
            "the database can't be reached or is busy", reason="DATABASE_UNAVAILABLE"
        )
    return Internal(f"a database {operation} failed: {type(error).__name__}: {error}")


def transient(error: BaseException) -> bool:
    """Say whether trying again may help."""
    # A unique violation is another replica that was quicker: the work then finds its row.
    return isinstance(error, IntegrityError) or (
        isinstance(error, DBAPIError)
        and not isinstance(error, DataError)
        and not isinstance(error.orig, TypeError)
    )
