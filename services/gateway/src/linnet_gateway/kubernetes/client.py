"""The Kubernetes API as plain JSON over the official client's credentials and connections.

Models are left out on purpose: decoding a list into them costs twenty times its JSON.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import kubernetes.aio.client
import kubernetes.aio.config
from linnet_runtime.clock import Clock
from linnet_runtime.errors import Unavailable

from linnet_gateway.kubernetes.answers import ApiError, refusal
from linnet_gateway.kubernetes.inflight import InFlight
from linnet_gateway.kubernetes.patient_calls import CONNECT_S, ApiMetrics, PatientCalls
from linnet_gateway.kubernetes.requests import Request, json_lines, read_object, told
from linnet_gateway.kubernetes.settings import KubernetesSettings

_PAGE = "500"


@dataclass(frozen=True, slots=True)
class Listing:
    """Items of a list and the version from which a watch goes on."""

    items: list[dict[str, Any]]
    resource_version: str


class Api:
    """Calls to one API server; use as an async context manager."""

    def __init__(
        self,
        client: kubernetes.aio.client.ApiClient,
        settings: KubernetesSettings,
        metrics: ApiMetrics,
        clock: Clock,
    ) -> None:
        self._calls = PatientCalls(client, settings, metrics, clock)

    @property
    def inflight(self) -> InFlight:
        """How many calls are under way, and may be."""
        return self._calls.inflight

    @classmethod
    async def connect(
        cls, settings: KubernetesSettings, metrics: ApiMetrics, clock: Clock
    ) -> "Api":
        """Read credentials: a file if the settings name one, else the pod's own.

        Raises:
            Unavailable: There are none, or they are of no use.
        """
        configuration = kubernetes.aio.client.Configuration()
        try:
            if settings.kubeconfig is None:
                kubernetes.aio.config.load_incluster_config(configuration)
            else:
                await kubernetes.aio.config.load_kube_config(
                    config_file=str(settings.kubeconfig), client_configuration=configuration
                )
        except (kubernetes.aio.config.ConfigException, OSError) as error:
            raise Unavailable(
                f"kubeconfig: no credentials for a cluster from {settings.kubeconfig or 'the pod'}"
                f": {error}"
            ) from error
        configuration.retries = None
        # Watches hold connections beside the calls in flight.
        configuration.connection_pool_maxsize = settings.inflight_max + 8
        return cls(kubernetes.aio.client.ApiClient(configuration), settings, metrics, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._calls.close()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object."""
        return await self.call("GET", path, query=query)

    async def create(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object.

        A call that got no answer is made again, so that `AlreadyExists` may mean our own.
        """
        return await self.call("POST", path, body=manifest)

    async def merge(self, path: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a merge patch."""
        return await self.call(
            "PATCH", path, body=changes, content_type="application/merge-patch+json"
        )

    async def delete(
        self, path: str, propagation: str = "Background", *, grace_s: int | None = None
    ) -> None:
        """Delete an object; one that is not there is passed over.

        Args:
            path: The object.
            propagation: What becomes of what it owns.
            grace_s: Time that a pod has to end by itself; None leaves that to the pod's spec.
        """
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
        }
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self.call("DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP's not found
                raise

    async def text(self, path: str, **query: str) -> str:
        """Read what is no JSON, such as a log."""
        return (await self._calls.content(Request("GET", path, query))).decode(errors="replace")

    async def list(self, path: str, **query: str) -> Listing:
        """Read a whole list, page by page.

        Raises:
            Expired: It changed too much between two pages.
        """
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            pages = {"limit": _PAGE, **query} | ({"continue": token} if token else {})
            page = await self.call("GET", path, query=pages)
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return Listing(items, page["metadata"]["resourceVersion"])

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Call the API and read its answer.

        Calls that the server is too busy for, or that get no answer, are made again, with growing
        random waits or those that the server asks for, up to `retry_limit_s`.

        Raises:
            ApiError: The server refused.
            Expired: The server has forgotten what the call refers to.
            Unavailable: The server could not be reached, stayed busy for too long, or answered
                with something else than an object.
        """
        request = Request(method, path, query or {}, body, content_type)
        return read_object(await self._calls.content(request))

    @asynccontextmanager
    async def stream(
        self, path: str, silence_s: float, **query: str
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open a watch and give its events, one JSON object a line.

        Args:
            path: What to watch.
            silence_s: The stream fails when nothing comes for so long.
            query: Further parameters.

        Raises:
            Expired: The server has forgotten the resource version.
            ApiError: The server refused.
            Unavailable: The connection broke, fell silent, or carries something else than events.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s)
        try:
            response = await self._calls.send(
                Request("GET", path, {"watch": "true", **query}), limits
            )
            try:
                if response.status != 200:  # noqa: PLR2004 - HTTP's OK
                    raise refusal(response.status, await response.read())
                yield json_lines(response)
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the watch of {path} broke: {told(error)}") from error
