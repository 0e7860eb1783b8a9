"""Evaluator and profiler over TLS: whom the gateway trusts, and what others see of its token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from linnet.v1 import run_pb2
from linnet_gateway.reconciling.analysis_clients import (
    ProfilerClient,
    credentials_from,
    open_channel,
)
from linnet_runtime.errors import Unavailable
from linnet_runtime.rpc.admission import with_token
from linnet_runtime.rpc.certificates import CertificateFiles, grpc_credentials
from linnet_runtime.s3 import S3Location, S3Store
from pydantic import SecretStr

from tests.fakes.analysts import FakeAnalysts, serving
from tests.fakes.gateway import running_with
from tests.support.certificates import Authority, Mounted
from tests.support.evaluator_process import evaluator
from tests.support.profiler_process import profiler

_TOKEN = "a-token-that-stands-out"
_NOWHERE = S3Location(
    endpoint="http://127.0.0.1:9", access_key="none", secret_key="none", bucket="none"
)


class Place:
    """Files of a service's certificate, and those by which it is trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted = Mounted(folder / "tls")
        self.authority = Authority()
        self.renew(self.authority)

    def renew(self, authority: Authority) -> None:
        """Show a new certificate of an authority from now on."""
        pair = authority.pair("service")
        self._mounted.write(cert=pair.certificate, key=pair.key)

    @property
    def files(self) -> dict[str, str]:
        """Settings of the service."""
        return {
            "TLS_CERTIFICATE_FILE": str(self._folder / "tls" / "cert"),
            "TLS_KEY_FILE": str(self._folder / "tls" / "key"),
        }

    def trusting(self, authority: Authority) -> Path:
        """Give the gateway's file with an authority."""
        path = self._folder / "ca.crt"
        path.write_bytes(authority.certificate)
        return path


async def _reached(address: str, authorities: Path | None) -> bool:
    """Say whether a gateway's call is answered; raises whatever else than Unavailable comes."""
    channel = open_channel(address, credentials_from(authorities))
    try:
        return bool(await ProfilerClient(channel, with_token(SecretStr(_TOKEN))).list_targets())
    except Unavailable:
        return False
    finally:
        await channel.close()


@asynccontextmanager
async def _overheard(address: str) -> AsyncIterator[tuple[str, bytearray]]:
    """Give an address that leads to another, and what callers send over it."""
    heard = bytearray()
    host, _, port = address.rpartition(":")

    async def pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: bytearray
    ) -> None:
        while data := await reader.read(65_536):
            note += data
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            pass_on(reader, back, heard),
            pass_on(there, writer, bytearray()),
            return_exceptions=True,
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()


async def test_whom_a_gateway_does_not_trust_learns_no_token(tmp_path: Path) -> None:
    """The authority's own service is served by; a stranger's is Unavailable, and reads nothing."""
    place = Place(tmp_path)
    with profiler(tmp_path, SERVICE_TOKEN=_TOKEN, **place.files) as endpoints:
        async with _overheard(endpoints["address"]) as (address, heard):
            assert not await _reached(address, place.trusting(Authority()))
            assert heard
            assert await _reached(address, place.trusting(place.authority))
        assert _TOKEN.encode() not in heard
        assert not await _reached(endpoints["address"], None)


async def test_a_token_is_never_sent_to_a_service_without_a_certificate(tmp_path: Path) -> None:
    """What could be read in plain text is not sent once authorities are named."""
    with profiler(tmp_path, SERVICE_TOKEN=_TOKEN) as endpoints:
        async with _overheard(endpoints["address"]) as (address, heard):
            assert not await _reached(address, Place(tmp_path).trusting(Authority()))
            assert _TOKEN.encode() not in heard
            assert await _reached(address, None)
            assert _TOKEN.encode() in heard


async def test_renewed_files_are_shown_without_a_restart(tmp_path: Path) -> None:
    """A service shows what its files hold now."""
    place = Place(tmp_path)
    later = Authority()
    with profiler(tmp_path, SERVICE_TOKEN=_TOKEN, **place.files) as endpoints:
        assert await _reached(endpoints["address"], place.trusting(place.authority))
        assert not await _reached(endpoints["address"], place.trusting(later))
        place.renew(later)
        assert await _reached(endpoints["address"], place.trusting(later))
        assert not await _reached(endpoints["address"], place.trusting(place.authority))


def _evaluator(folder: Path, **settings: str) -> AbstractContextManager[dict[str, str]]:
    return evaluator(_NOWHERE, folder, **settings)


@pytest.mark.parametrize("start", [_evaluator, profiler], ids=["evaluator", "profiler"])
async def test_each_serves_over_tls_and_is_probed_in_plain_text(
    tmp_path: Path, start: Callable[..., AbstractContextManager[dict[str, str]]]
) -> None:
    """A probe knows no authority: whether calls are served is told beside the metrics."""
    place = Place(tmp_path)
    with start(tmp_path, **place.files) as endpoints:
        trusted = credentials_from(place.trusting(place.authority))
        for credentials, answered in ((trusted, True), (None, False)):
            channel = open_channel(endpoints["address"], credentials)
            asked = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )
            if answered:
                assert (await asked).status == health_pb2.HealthCheckResponse.SERVING
            else:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asked
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await channel.close()
        host = endpoints["metrics"].removeprefix("http://").partition("/")[0]
        async with httpx.AsyncClient(trust_env=False) as kubelet:
            assert (await kubelet.get(f"http://{host}/readyz")).status_code == 200


async def test_a_run_is_analyzed_over_tls(tmp_path: Path, s3_location: S3Location) -> None:
    """A gateway with the authorities' file reaches both with every call of its own."""
    place = Place(tmp_path)
    chain, key = (Path(path) for path in place.files.values())
    credentials = grpc_credentials(CertificateFiles(chain, key, setting="TLS"))
    analysts = FakeAnalysts(S3Store(s3_location))
    authority = place.trusting(place.authority)
    async with (
        serving(analysts, credentials) as address,
        running_with(analysts, address, tmp_path, s3_location, service_ca_file=authority) as bench,
    ):
        await bench.push()
        run = await bench.submit("one")
        await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    assert analysts.evaluated
    assert analysts.profiled
