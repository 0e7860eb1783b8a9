"""The error tree; knows no transport.

    LinnetError
    ├── InvalidInput          the request or a file is wrong; says which field
    ├── Unauthenticated       nobody we know
    ├── PermissionDenied      somebody who may not
    ├── NotFound
    ├── AlreadyExists
    ├── Conflict              the record changed meanwhile
    ├── NotAllowedInState
    ├── QuotaExceeded
    ├── DeadlineExceeded
    ├── Unavailable           try again later
    └── Internal              a fault of ours

Every error carries a stable UPPER_SNAKE reason; `metadata` repeats each dynamic part of the
message.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Code(Enum):
    """What kind of error it is, in the words of google.rpc.Code."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path, such as `run.spec.fit.epochs`, and what is wrong with it."""

    field: str
    description: str


class LinnetError(Exception):
    """Base of every expected error.

    Attributes:
        message: For a person: what was expected, what came, what to do.
        reason: Stable UPPER_SNAKE constant.
        metadata: The dynamic parts of the message.
    """

    code: ClassVar[Code] = Code.INTERNAL
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})


class InvalidInput(LinnetError):
    """A request or a file is wrong; `violations` names each wrong field."""

    code = Code.INVALID_ARGUMENT
    default_reason = "INVALID_INPUT"

    def __init__(
        self,
        violations: Iterable[Violation],
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.violations = tuple(violations)
        message = "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        super().__init__(message, reason=reason, metadata=metadata)

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> "InvalidInput":
        """Make the error of one wrong field."""
        return cls([Violation(field, description)], reason=reason)


class Unauthenticated(LinnetError):
    """The caller is nobody we know."""

    code = Code.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(LinnetError):
    """The caller may not do this."""

    code = Code.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class NotFound(LinnetError):
    """A resource does not exist, or the caller may not know of it."""

    code = Code.NOT_FOUND
    default_reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} does not exist", metadata={"kind": kind, "name": name})
        self.kind = kind
        self.name = name


class AlreadyExists(LinnetError):
    """A resource of that name, or another request under that request id, exists."""

    code = Code.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class Conflict(LinnetError):
    """The record changed since the caller read it."""

    code = Code.ABORTED
    default_reason = "ETAG_MISMATCH"


class NotAllowedInState(LinnetError):
    """The resource's state does not allow this."""

    code = Code.FAILED_PRECONDITION
    default_reason = "NOT_ALLOWED_IN_STATE"


class QuotaExceeded(LinnetError):
    """A limit of the project or caller is reached."""

    code = Code.RESOURCE_EXHAUSTED
    default_reason = "QUOTA_EXCEEDED"


class DeadlineExceeded(LinnetError):
    """It took longer than it may."""

    code = Code.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Unavailable(LinnetError):
    """Something needed can't be reached now; `retry_after_s` says when to try again."""

    code = Code.UNAVAILABLE
    default_reason = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float = 1.0,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class Internal(LinnetError):
    """A fault of Linnet's own."""
