"""One call of the Kubernetes API: what is asked, and how its answer is read."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from linnet_runtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Request:
    """What a call asks.

    Attributes:
        method: Of HTTP.
        path: Below the server's address.
        query: Parameters.
        body: Object that is sent as JSON.
        content_type: Says which kind of JSON it is.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"

    @property
    def resource(self) -> str:
        """What the path names, such as `jobs`; for figures."""
        # /api/v1/namespaces/ns/pods/name/log and /apis/batch/v1/namespaces/ns/jobs/name
        parts = self.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004 - a namespace and more
            parts = parts[2:]
        return parts[0] if parts else "server"


async def json_lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Give the events of a watch, one JSON object a line.

    Raises:
        Unavailable: A line is no JSON object, as when a proxy answers in the server's place.
    """
    # Objects are longer than the line limit of aiohttp's own reader.
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield read_object(line)


def read_object(content: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Unavailable: It is none.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        begin = content[:200].decode(errors="replace")
        raise Unavailable(
            f"the Kubernetes API answered with no JSON object: {begin!r}",
            reason="KUBERNETES_UNAVAILABLE",
        )
    return found


def told(error: BaseException) -> str:
    """Say what an error of the connection is, which some leave to their name."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
