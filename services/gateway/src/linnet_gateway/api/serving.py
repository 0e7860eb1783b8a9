"""TrainingService on the ports that clients reach: gRPC, and Connect for browsers and curl."""

from contextlib import AsyncExitStack

from linnet.v1 import training_service_pb2_grpc
from linnet_runtime.clock import Clock
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import Drain, Server

from linnet_gateway.api.connect_app import HttpServer, connect_app
from linnet_gateway.api.credentials import server_credentials, web_context
from linnet_gateway.api.guard import Guard
from linnet_gateway.api.training_servicer import training_servicer
from linnet_gateway.api.web_origins import WebOrigins
from linnet_gateway.settings import GatewaySettings


async def serve_public(
    stack: AsyncExitStack,
    server: Server,
    guard: Guard,
    settings: GatewaySettings,
    *,
    rpc: RpcMetrics,
    clock: Clock,
) -> dict[str, str]:
    """Serve until the stack is closed, which lets what is under way end.

    Args:
        stack: What is stopped with the gateway.
        server: Serves gRPC; not started yet.
        guard: The use cases, behind who may call them.
        settings: Where to listen, and for how long to drain.
        rpc: Counts calls.
        clock: Time.

    Returns:
        Where clients find both, as `address` and `http`.
    """
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(
        training_servicer(guard), server.grpc_server
    )
    port = server.listen(
        f"{settings.host}:{settings.port}", server_credentials(settings, clients=True)
    )
    web = HttpServer(
        WebOrigins(connect_app(guard, rpc), settings.web_origins),
        settings.host,
        settings.http_port,
        web_context(settings),
    )
    http_port = await web.start()
    stack.push_async_callback(web.stop)
    await server.start()
    drain = Drain(settings.drain_pause_s, settings.drain_grace_s)
    stack.push_async_callback(server.stop, clock, drain)
    host = reachable(settings.host)
    scheme = "https" if settings.tls_certificate_file else "http"
    return {"address": f"{host}:{port}", "http": f"{scheme}://{host}:{http_port}"}


def reachable(host: str) -> str:
    """Give where this machine finds what listens on a host."""
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound
