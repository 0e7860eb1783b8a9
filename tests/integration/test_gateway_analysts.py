"""The gateway's calls of evaluator and profiler where each is more than one pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from linnet.v1 import (
    profiler_service_pb2,
    profiler_service_pb2_grpc,
    run_pb2,
)
from linnet_gateway.reconciling.analysis_clients import ProfilerClient, open_channel
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import Unavailable
from linnet_runtime.rpc.admission import with_token
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import Drain, Server
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location, S3Store
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tests.fakes.analysts import FakeAnalysts, serving
from tests.fakes.gateway import running_with
from tests.fakes.nameserver import NameServer
from tests.support.profiler_process import profiler

_PODS = ("127.0.0.2", "127.0.0.3")


class Pod(profiler_service_pb2_grpc.ProfilerServiceServicer):
    """Notes who calls it, by connection; each call waits until `go` is set."""

    def __init__(self) -> None:
        self.peers: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    @property
    def calls(self) -> int:
        return len(self.peers)

    async def ListTargets(  # noqa: N802 - named by the contract
        self,
        _: profiler_service_pb2.ProfilerServiceListTargetsRequest,
        context: grpc.aio.ServicerContext,
    ) -> profiler_service_pb2.ProfilerServiceListTargetsResponse:
        self.peers.append(context.peer())
        await self.go.wait()
        return profiler_service_pb2.ProfilerServiceListTargetsResponse()


@asynccontextmanager
async def pods(age_s: int = 0) -> AsyncIterator[tuple[int, list[Pod]]]:
    """Serve on the same port of two addresses, as two pods do; gives the port too."""
    made = [Pod() for _ in _PODS]
    servers = []
    port = 0
    for address, pod in zip(_PODS, made, strict=True):
        server = Server(
            ["linnet.v1.ProfilerService"],
            RpcMetrics(CollectorRegistry()),
            max_connection_age_s=age_s,
        )
        profiler_service_pb2_grpc.add_ProfilerServiceServicer_to_server(pod, server.grpc_server)
        port = server.listen(f"{address}:{port}")
        await server.start()
        servers.append(server)
    try:
        yield port, made
    finally:
        for server in servers:
            await server.stop(SystemClock(), Drain(grace_s=0))


async def test_calls_go_to_every_pod() -> None:
    """Of two pods behind one address each gets its share."""
    async with pods() as (port, made):
        channel = open_channel("ipv4:" + ",".join(f"{pod}:{port}" for pod in _PODS))
        client = ProfilerClient(channel)
        async with asyncio.timeout(30):
            while not all(pod.calls for pod in made):
                await client.list_targets()
        before = [pod.calls for pod in made]
        for _ in range(20):
            await client.list_targets()
        await channel.close()
    assert [pod.calls - old for pod, old in zip(made, before, strict=True)] == [10, 10]


async def test_a_pod_that_is_added_gets_calls() -> None:
    """The services end old connections, so that the name is looked up again; no call is lost."""
    names = NameServer([_PODS[0]])
    async with pods(age_s=1) as (port, made):
        channel = open_channel(f"dns://127.0.0.1:{await names.start()}/profiler:{port}")
        client = ProfilerClient(channel)
        await client.list_targets()
        assert [pod.calls for pod in made] == [1, 0]
        names.addresses = list(_PODS)
        async with asyncio.timeout(30):
            while not made[1].calls:
                await client.list_targets()
        await channel.close()
    names.stop()


async def test_a_call_outlives_its_connections_age() -> None:
    """What is under way when a connection is too old is still answered."""
    async with pods(age_s=1) as (port, made):
        channel = open_channel(f"{_PODS[0]}:{port}")
        client = ProfilerClient(channel)
        made[0].go.clear()
        calls = [asyncio.create_task(client.list_targets())]
        async with asyncio.timeout(30):
            # Later calls go over the next connection once the first was told to end.
            while len(set(made[0].peers)) < 2:
                calls.append(asyncio.create_task(client.list_targets()))
                await asyncio.wait(calls, timeout=0.05)
        assert not calls[0].done()
        made[0].go.set()
        assert await asyncio.gather(*calls) == [[]] * len(calls)
        await channel.close()


async def test_a_service_with_a_token_serves_its_gateway_only(tmp_path: Path) -> None:
    """Without the shared token nothing is read and nothing done; whether it lives may be asked."""
    token = SecretStr("shared")
    with profiler(tmp_path, SERVICE_TOKEN="shared") as endpoints:
        channel = open_channel(endpoints["address"])
        profile = channel.unary_unary("/linnet.v1.ProfilerService/Profile")
        for metadata, expected in (
            ((), "NO_TOKEN"),
            (with_token(SecretStr("guess")), "BAD_TOKEN"),
            (with_token(token), "MALFORMED_MESSAGE"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                await profile(b"\xff" * 100, metadata=metadata)
            assert from_rpc_error(caught.value).reason == expected
        for wrong in ((), with_token(SecretStr("guess"))):
            # No run is to blame for a token that is being replaced: it is worth another try.
            with pytest.raises(Unavailable) as refused:
                await ProfilerClient(channel, wrong).list_targets()
            assert refused.value.reason == "SERVICE_TOKEN_REFUSED"
        assert await ProfilerClient(channel, with_token(token)).list_targets()
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await channel.close()


async def test_a_run_is_analyzed_behind_a_token(tmp_path: Path, s3_location: S3Location) -> None:
    """A gateway with the token reaches evaluator and profiler with every call of its own."""
    shown: list[str] = []
    analysts = FakeAnalysts(S3Store(s3_location), shown)
    async with (
        serving(analysts) as address,
        running_with(
            analysts, address, tmp_path, s3_location, service_token=SecretStr("shared")
        ) as bench,
    ):
        await bench.push()
        run = await bench.submit("one")
        await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    assert analysts.evaluated
    assert analysts.profiled
    assert set(shown) == {"Bearer shared"}


@pytest.mark.parametrize("address", ["127.0.0.2:{}", "dns:///127.0.0.2:{}", "ipv4:127.0.0.2:{}"])
async def test_an_address_may_be_a_target(address: str) -> None:
    """Host and port, or whatever gRPC takes."""
    async with pods() as (port, _):
        channel = open_channel(address.format(port))
        assert await ProfilerClient(channel).list_targets() == []
        await channel.close()
