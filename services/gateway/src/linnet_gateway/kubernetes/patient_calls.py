"""Calls of the Kubernetes API that wait, and are made again, when the server is busy or away."""

import random
from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
import kubernetes.aio.client
import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import Unavailable
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from linnet_gateway.kubernetes.answers import refusal, retry_after_s
from linnet_gateway.kubernetes.inflight import InFlight
from linnet_gateway.kubernetes.requests import Request, told
from linnet_gateway.kubernetes.settings import KubernetesSettings

CONNECT_S = 10.0
"""How long making a connection may take."""
_START_INFLIGHT = 32
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_BUSY = {429, 500, 502, 503, 504}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


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


class PatientCalls:
    """Sends requests with the official client's credentials and connections."""

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

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def content(self, request: Request) -> bytes:
        """Make a call and give the content of its answer.

        Calls that the server is too busy for, or that get no answer, are made again, with growing
        random waits or those that the server asks for, up to `retry_limit_s`.

        Raises:
            ApiError: The server refused.
            Expired: The server has forgotten what the call refers to.
            Unavailable: The server could not be reached, or stayed busy, for too long.
        """
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
                    trouble = told(error)
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

    async def _once(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        limits = aiohttp.ClientTimeout(total=self._settings.call_timeout_s, sock_connect=CONNECT_S)
        verb, resource = request.method.lower(), request.resource
        began = self._clock.monotonic()
        code = 0
        try:
            response = await self.send(request, limits)
            async with response:
                content = await response.read()
            code = response.status
            return code, response.headers, content
        finally:
            self._metrics.duration_seconds.labels(verb, resource).observe(
                self._clock.monotonic() - began
            )
            self._metrics.requests_total.labels(verb, resource, str(code)).inc()

    async def send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send a request once and give the answer, whatever its status, with its content unread."""
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
