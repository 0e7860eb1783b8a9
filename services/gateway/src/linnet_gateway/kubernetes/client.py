"""The Kubernetes API as plain JSON over the official client's credentials and connections.

Models are left out on purpose: decoding a list into them costs twenty times its JSON.
"""

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import kubernetes.aio.client
import kubernetes.aio.config
import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import Internal, Unavailable
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from linnet_gateway.kubernetes.answers import ApiError, refusal, retry_after_s
from linnet_gateway.kubernetes.inflight import InFlight
from linnet_gateway.kubernetes.settings import KubernetesSettings

_START_INFLIGHT = 32
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_CONNECT_S = 10.0
_PAGE = "500"
_BUSY = {429, 500, 502, 503, 504}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Listing:
    """Items of a list and the version from which a watch goes on."""

    items: list[dict[str, Any]]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"


class ApiMetrics:
    """Figures of the API calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration_seconds = Histogram(
            "linnet_k8s_request_duration_seconds",
            "Duration of Kubernetes API calls, waits for a place not counted.",
            ["verb", "resource"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.requests_total = Counter(
            "linnet_k8s_requests_total",
            "Kubernetes API calls by answer; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self.inflight = Gauge(
            "linnet_k8s_inflight", "Kubernetes API calls under way.", registry=registry
        )


class Api:
    """Calls to one API server; use as an async context manager."""

    def __init__(
        self,
        client: kubernetes.aio.client.ApiClient,
        settings: KubernetesSettings,
        metrics: ApiMetrics,
        clock: Clock,
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
        self.inflight = InFlight(_START_INFLIGHT, settings.inflight_max)

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
        await self._client.close()

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

    async def delete(self, path: str, propagation: str = "Background") -> None:
        """Delete an object; one that is not there is passed over."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        try:
            await self.call("DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP's not found
                raise

    async def text(self, path: str, **query: str) -> str:
        """Read what is no JSON, such as a log."""
        return (await self._called(_Request("GET", path, query))).decode(errors="replace")

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
            Unavailable: The server could not be reached, or stayed busy, for too long.
        """
        request = _Request(method, path, query or {}, body, content_type)
        answer = json.loads(await self._called(request))
        if not isinstance(answer, dict):
            raise Internal(f"Kubernetes answered {method} {path} with no object")
        return answer

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
            Unavailable: The connection broke or fell silent.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s)
        try:
            response = await self._send(_Request("GET", path, {"watch": "true", **query}), limits)
            try:
                if response.status != 200:  # noqa: PLR2004 - HTTP's OK
                    raise refusal(response.status, await response.read())
                yield _lines(response)
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the watch of {path} broke: {_named(error)}") from error

    async def _called(self, request: _Request) -> bytes:
        deadline = self._clock.monotonic() + self._settings.retry_limit_s
        wait_s = _FIRST_WAIT_S
        while True:
            async with self.inflight.slot() as round_number:
                self._metrics.inflight.set(self.inflight.current)
                try:
                    status, headers, content = await self._once(request)
                    trouble = f"it answered {status}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    status, headers, content = 0, {}, b""
                    trouble = _named(error)
            self._metrics.inflight.set(self.inflight.current)
            if status and status not in _BUSY:
                self.inflight.went_well()
                if status >= 400:  # noqa: PLR2004 - HTTP's errors begin there
                    raise refusal(status, content)
                return content
            self.inflight.slow_down(round_number)
            asked_s = retry_after_s(headers)
            pause_s = max(asked_s, random.uniform(0, wait_s))  # noqa: S311 - spreads retries
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            if self._clock.monotonic() + pause_s > deadline:
                raise Unavailable(
                    f"the Kubernetes API can't be used: {request.method} {request.path}: {trouble}",
                    reason="KUBERNETES_UNAVAILABLE",
                    retry_after_s=max(asked_s, 1.0),
                )
            self._log.debug(
                "kubernetes_retry", method=request.method, path=request.path, trouble=trouble
            )
            await self._clock.sleep(pause_s)

    async def _once(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
        limits = aiohttp.ClientTimeout(total=self._settings.call_timeout_s, sock_connect=_CONNECT_S)
        verb, resource = request.method.lower(), _resource(request.path)
        began = self._clock.monotonic()
        code = 0
        try:
            response = await self._send(request, limits)
            async with response:
                content = await response.read()
            code = response.status
            return code, response.headers, content
        finally:
            self._metrics.duration_seconds.labels(verb, resource).observe(
                self._clock.monotonic() - began
            )
            self._metrics.requests_total.labels(verb, resource, str(code)).inc()

    async def _send(
        self, request: _Request, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "User-Agent": "linnet-gateway"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        await self._client.update_params_for_auth(
            headers, None, ["BearerToken"], request.path, request.method, request.body
        )
        url = self._client.configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        answer = await self._client.call_api(
            request.method, url, headers, request.body, _request_timeout=limits
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    # Objects are longer than the line limit of aiohttp's own reader.
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _resource(path: str) -> str:
    # /api/v1/namespaces/ns/pods/name/log and /apis/batch/v1/namespaces/ns/jobs/name
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004 - a namespace and more
        parts = parts[2:]
    return parts[0] if parts else "server"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
