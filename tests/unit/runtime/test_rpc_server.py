"""A served call is checked, counted and answered with details; real gRPC on loopback."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from linnet.v1 import profiler_service_pb2, profiler_service_pb2_grpc
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import Drain, Server
from linnet_runtime.rpc.status import from_rpc_error
from prometheus_client import CollectorRegistry

NAME = "linnet.v1.ProfilerService"


class Servicer(profiler_service_pb2_grpc.ProfilerServiceServicer):
    async def Profile(self, request, context):  # noqa: N802 - the contract's name
        if request.run == "crash":
            raise RuntimeError("a secret")
        raise NotFound("run", request.run)

    async def ListTargets(self, request, context):  # noqa: N802 - the contract's name
        return profiler_service_pb2.ProfilerServiceListTargetsResponse()


@pytest.fixture
async def served():
    registry = CollectorRegistry()
    server = Server([NAME], RpcMetrics(registry))
    profiler_service_pb2_grpc.add_ProfilerServiceServicer_to_server(Servicer(), server.grpc_server)
    port = server.listen("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, registry, server
    await server.stop(SystemClock(), Drain(grace_s=0.1))


def _request(run: str) -> profiler_service_pb2.ProfileRequest:
    request = profiler_service_pb2.ProfileRequest(run=run)
    request.models.add(content=b"x")
    return request


async def test_a_request_that_breaks_the_contract_is_refused(served):
    """A rule of the contract refuses a request before the servicer sees it."""
    stub = profiler_service_pb2_grpc.ProfilerServiceStub(served[0])

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Profile(profiler_service_pb2.ProfileRequest(clock_hz=-1))

    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert {v.field for v in error.violations} == {"models", "clock_hz"}


async def test_errors_arrive_with_details_and_are_counted(served):
    """A domain error arrives as itself; an unexpected one tells nothing; both are counted."""
    channel, registry, _ = served
    stub = profiler_service_pb2_grpc.ProfilerServiceStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await stub.Profile(_request("r"))
    with pytest.raises(grpc.aio.AioRpcError) as crashed:
        await stub.Profile(_request("crash"))

    assert isinstance(from_rpc_error(missing.value), NotFound)
    assert "secret" not in str(crashed.value)
    labels = {"method": "ProfilerService/Profile"}
    counted = "linnet_rpc_requests_total"
    for code in ("NOT_FOUND", "INTERNAL"):
        # An answer may be here before its call is counted there.
        async with asyncio.timeout(10):
            while registry.get_sample_value(counted, labels | {"code": code}) != 1:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)


async def test_health_says_whether_it_serves(served):
    """Health is SERVING while it serves and NOT_SERVING once it drains."""
    channel, _, server = served
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=NAME)

    before = await health.Check(request)
    watching = health.Watch(request)
    await watching.read()
    await server._health.enter_graceful_shutdown()
    after = await watching.read()

    assert before.status == health_pb2.HealthCheckResponse.SERVING
    assert after.status == health_pb2.HealthCheckResponse.NOT_SERVING
