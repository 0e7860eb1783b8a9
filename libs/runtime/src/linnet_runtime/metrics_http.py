"""The /metrics page of a process and its health, on a port of their own that speaks plain text."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Serving = Callable[[], bool]

_ANSWER_S = 2.0
"""How long the event loop may take to answer, in seconds; less than a probe waits."""


def new_registry() -> CollectorRegistry:
    """Make a registry that holds the process's own figures."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class MetricsPage:
    """Serves a registry at http://host:port/metrics, and health, from a thread until closed.

    /livez says 200 while the event loop in which the page was made answers, /readyz while it says
    that calls are served; else both say 503. So a probe needs neither TLS nor gRPC, and finds a
    process whose ports still accept although nothing behind them works.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        serving: Serving,
        *,
        answer_s: float = _ANSWER_S,
    ) -> None:
        """Begin to serve; call it in the event loop that serves calls.

        Args:
            registry: What /metrics shows.
            host: Where to listen.
            port: Where to listen; 0 picks a free one.
            serving: Whether calls are served; asked in the event loop.
            answer_s: How long the event loop may take to answer, in seconds.
        """
        health = _Health(asyncio.get_running_loop(), serving, answer_s)
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        metrics = self._server.get_app()
        assert metrics is not None
        self._server.set_app(_routed(metrics, health))
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Health:
    """Asks the event loop, from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, serving: Serving, answer_s: float) -> None:
        self._loop = loop
        self._serving = serving
        self._answer_s = answer_s

    def problem(self, *, ready: bool) -> str:
        """Say what is wrong; nothing if all is well."""

        async def ask() -> bool:
            return self._serving()

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        try:
            serves = asked.result(self._answer_s)
        except TimeoutError:
            asked.cancel()
            return f"the event loop did not answer within {self._answer_s} s"
        return "" if serves or not ready else "no calls are served"


def _routed(metrics: "WSGIApplication", health: _Health) -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in {"/livez", "/readyz"}:
            return metrics(environ, start)
        problem = health.problem(ready=path == "/readyz")
        status = "503 Service Unavailable" if problem else "200 OK"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{problem or 'ok'}\n".encode()]

    return application
