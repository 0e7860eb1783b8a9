"""Who is let in, decided before anything of a message is looked at."""

import hmac
from collections.abc import Sequence
from typing import Protocol

from pydantic import SecretStr

from linnet_runtime.errors import Unauthenticated

Metadata = Sequence[tuple[str, str | bytes]]

_BEARER = "Bearer "


class Admission(Protocol):
    """Stands at the door of a service."""

    async def admit(self, method: str, authorization: str) -> None:
        """Let a call in.

        Args:
            method: Its name without its service, such as `CreateRun`.
            authorization: What its caller says of himself; may be empty.

        Raises:
            LinnetError: It is not let in; nothing of its message is read.
        """
        ...

    async def refused(self, method: str, error: Exception) -> None:
        """Hear of a call that ended before its use case began: not let in, or a bad message."""
        ...


class Open:
    """Lets everybody in: for services that only the gateway reaches."""

    async def admit(self, method: str, authorization: str) -> None:
        """Let a call in."""

    async def refused(self, method: str, error: Exception) -> None:
        """Hear of a call that ended before its use case began."""


def authorization_of(metadata: Metadata | None) -> str:
    """Give the header that says who calls; empty without one."""
    for key, value in metadata or ():
        if key == "authorization" and isinstance(value, str):
            return value
    return ""


def bearer_token(authorization: str) -> str:
    """Give the token of an `authorization: Bearer <token>`; raises `Unauthenticated`."""
    token = authorization.removeprefix(_BEARER)
    if not authorization.startswith(_BEARER) or not token:
        raise Unauthenticated(
            "expected `authorization: Bearer <token>`, received none", reason="NO_TOKEN"
        )
    return token


def with_token(token: SecretStr | None) -> tuple[tuple[str, str], ...]:
    """Give the metadata of a call that presents a token; empty without one."""
    return () if token is None else (("authorization", f"{_BEARER}{token.get_secret_value()}"),)


def guarded_by(token: SecretStr | None) -> Admission:
    """Give what lets in callers with a token; everybody without one."""
    return Open() if token is None else SharedToken(token.get_secret_value())


class SharedToken(Open):
    """Lets in who presents the one token that a deployment's own services share."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def admit(self, method: str, authorization: str) -> None:  # noqa: ARG002 - one for all
        """Let a call in."""
        if not hmac.compare_digest(bearer_token(authorization).encode(), self._token):
            raise Unauthenticated("the token is not the one of this service", reason="BAD_TOKEN")
