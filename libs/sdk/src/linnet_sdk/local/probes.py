"""Whether a process serves: one try each, told by yes or no."""

from collections.abc import Awaitable, Callable

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

Probe = Callable[[], Awaitable[bool]]

_TRY_S = 1.0


def grpc_probe(address: str) -> Probe:
    """Ask the standard health service of a gRPC server."""

    async def serves() -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(
                    health_pb2.HealthCheckRequest(), timeout=_TRY_S, wait_for_ready=False
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return serves


def http_probe(url: str) -> Probe:
    """Ask for a page that answers 200 when all is well."""

    async def serves() -> bool:
        async with httpx.AsyncClient(timeout=_TRY_S, trust_env=False) as http:
            try:
                return (await http.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

    return serves
