"""A grpc.aio server as every service runs it: health, reflection, limits, graceful drain."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from linnet_runtime.clock import Clock
from linnet_runtime.rpc.admission import Admission
from linnet_runtime.rpc.interceptors import ErrorInterceptor, RpcMetrics
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES, MAX_READ_BYTES

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_READ_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


SHARED_CONNECTION_AGE_S = 60
"""After so long, a service of several replicas has its clients connect, and look, anew."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How a server ends: it says NOT_SERVING, waits for `pause_s`, gives calls `grace_s`."""

    pause_s: float = 0.0
    grace_s: float = 10.0


class Server:
    """A grpc.aio server with health and reflection.

    Add servicers to `grpc_server` before `start`.

    Attributes:
        grpc_server: For servicers.
        serving: Whether it says SERVING.
    """

    def __init__(
        self,
        service_names: Sequence[str],
        metrics: RpcMetrics,
        *,
        admission: Admission | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        max_connection_age_s: int = 0,
    ) -> None:
        options = list(_OPTIONS)
        if max_connection_age_s:
            # Without a grace time: calls under way end when they end, over the old connection.
            options.append(("grpc.max_connection_age_ms", max_connection_age_s * 1000))
        self.grpc_server = grpc.aio.server(
            interceptors=[ErrorInterceptor(metrics, admission), *interceptors], options=options
        )
        self._names = [*service_names, ""]
        self.serving = False
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc_server)
        reflection.enable_server_reflection(
            [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.grpc_server
        )

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Bind `host:port` (port 0 picks a free one) and give the port."""
        if credentials is None:
            return int(self.grpc_server.add_insecure_port(address))
        return int(self.grpc_server.add_secure_port(address, credentials))

    async def start(self) -> None:
        """Begin to serve and say SERVING."""
        await self.grpc_server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.serving = True

    async def stop(self, clock: Clock, drain: Drain = Drain()) -> None:
        """Say NOT_SERVING, wait, then let calls end."""
        self.serving = False
        await self._health.enter_graceful_shutdown()
        if drain.pause_s:
            await clock.sleep(drain.pause_s)
        await self.grpc_server.stop(drain.grace_s)
