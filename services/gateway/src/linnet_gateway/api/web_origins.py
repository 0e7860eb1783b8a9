"""Pages of other origins that may call the HTTP port: CORS, as the fetch standard has it."""

from collections.abc import Sequence
from typing import Any

ANY = "*"

_ASKED = b", ".join(
    (
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"connect-protocol-version",
        b"connect-timeout-ms",
        b"connect-content-encoding",
        b"connect-accept-encoding",
        b"grpc-timeout",
        b"x-grpc-web",
        b"x-user-agent",
    )
)
"""What clients of Connect and gRPC-Web send that a page may not send unasked."""
_SHOWN = b", ".join(
    (
        b"content-encoding",
        b"connect-content-encoding",
        b"grpc-status",
        b"grpc-message",
        b"grpc-status-details-bin",
    )
)
"""What a page may read of an answer."""
_PREFLIGHT_LIFE_S = b"7200"


class WebOrigins:
    """Lets pages of the named origins call an ASGI application, and no others.

    Callers show a token and never a cookie, so that no page borrows the rights of whoever reads it.
    """

    def __init__(self, application: Any, origins: Sequence[str]) -> None:
        """Make one.

        Args:
            application: What is called.
            origins: Such as `https://app.example.org`; `*` for all of them; empty for none.
        """
        self._application = application
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        headers = dict(scope.get("headers", ()))
        origin = headers.get(b"origin", b"")
        if not origin or not (ANY.encode() in self._origins or origin in self._origins):
            await self._application(scope, receive, send)
            return
        allowed = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope.get("method") == "OPTIONS" and b"access-control-request-method" in headers:
            await _answer_preflight(send, allowed)
            return

        async def shown(message: Any) -> None:
            if message["type"] == "http.response.start":
                exposed = [(b"access-control-expose-headers", _SHOWN)]
                message = message | {"headers": [*message.get("headers", ()), *allowed, *exposed]}
            await send(message)

        await self._application(scope, receive, shown)


async def _answer_preflight(send: Any, allowed: list[tuple[bytes, bytes]]) -> None:
    headers = [
        *allowed,
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", _ASKED),
        (b"access-control-max-age", _PREFLIGHT_LIFE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
