"""What Prometheus is told of the calls to an object store: each HTTP request, by verb and code."""

import time
from typing import Any

import urllib3
from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_VERBS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})


class StoreMetrics:
    """Figures of the calls to a store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "linnet_store_requests",
            "Calls to the object store by answer; code 0 is no answer.",
            ["verb", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "linnet_store_request_duration_seconds",
            "Duration of calls to the object store, until the answer begins.",
            ["verb"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def called(self, verb: str, code: int, seconds: float) -> None:
        """Count a call; code 0 means that no answer came."""
        known = verb if verb in _VERBS else "other"
        self._requests.labels(known, str(code)).inc()
        self._seconds.labels(known).observe(seconds)


class MeteredPool(urllib3.PoolManager):
    """Connections whose requests are counted."""

    def __init__(self, metrics: StoreMetrics, **options: Any) -> None:
        super().__init__(**options)
        self._metrics = metrics

    def urlopen(
        self, method: str, url: str, *arguments: Any, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Make a request and count it."""
        begun, code = time.perf_counter(), 0
        try:
            answer = super().urlopen(method, url, *arguments, **options)
            code = answer.status
            return answer
        finally:
            self._metrics.called(method.upper(), code, time.perf_counter() - begun)
