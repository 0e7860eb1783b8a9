"""With a certificate every port speaks TLS; with client authorities callers need a certificate."""

import ssl
from pathlib import Path

import grpc
import httpx
import pytest
from linnet.v1 import runner_service_pb2, runner_service_pb2_grpc, training_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.assembly import Gateway
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput, Unavailable
from linnet_runtime.s3 import S3Location
from linnet_sdk import AsyncClient
from linnet_sdk.retries import NEVER
from linnet_sdk.server_address import resolve

from tests.fakes.analysts import FakeAnalysts, serving
from tests.fakes.gateway import settings_for
from tests.support.certificates import Authority, Mounted

REQUEST = pb.ListTargetsRequest()


async def refused(channel: grpc.aio.Channel) -> bool:
    """Say whether no call gets through a channel."""
    stub = training_service_pb2_grpc.TrainingServiceStub(channel)
    try:
        await stub.ListTargets(REQUEST, timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    finally:
        await channel.close()
    return False


async def test_ports_speak_tls_and_ask_for_certificates(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """Plain text and strangers' certificates get nowhere; the authority's own do their calls."""
    authority, stranger = Authority(), Authority()
    own, client = authority.pair("gateway"), authority.pair("client")
    files = {"cert": own.certificate, "key": own.key, "ca": authority.certificate}
    for name, data in (files | {"client": client.certificate, "client-key": client.key}).items():
        (tmp_path / name).write_bytes(data)
    async with serving(FakeAnalysts()) as analysts:
        settings = settings_for(
            tmp_path,
            s3_location,
            analysts,
            tls_certificate_file=tmp_path / "cert",
            tls_key_file=tmp_path / "key",
            tls_client_ca_file=tmp_path / "ca",
        )
        async with Gateway(settings, SystemClock()) as gateway:
            address = gateway.endpoints["address"]
            assert await refused(grpc.aio.insecure_channel(address))
            bare = grpc.ssl_channel_credentials(authority.certificate)
            assert await refused(grpc.aio.secure_channel(address, bare))
            wrong = stranger.pair("client")
            foreign = grpc.ssl_channel_credentials(
                authority.certificate, wrong.key, wrong.certificate
            )
            assert await refused(grpc.aio.secure_channel(address, foreign))
            good = grpc.ssl_channel_credentials(
                authority.certificate, client.key, client.certificate
            )
            assert not await refused(grpc.aio.secure_channel(address, good))
            async with grpc.aio.secure_channel(gateway.endpoints["runner"], bare) as channel:
                runner = runner_service_pb2_grpc.RunnerServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await runner.AcquireAssignment(
                        runner_service_pb2.AcquireAssignmentRequest(), timeout=5
                    )
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            context = ssl.create_default_context(cafile=str(tmp_path / "ca"))
            url = f"{gateway.endpoints['http']}/linnet.v1.TrainingService/ListTargets"
            async with httpx.AsyncClient(verify=context, trust_env=False) as web:
                with pytest.raises(httpx.TransportError):
                    await web.post(url, json={})
            context.load_cert_chain(str(tmp_path / "client"), str(tmp_path / "client-key"))
            async with httpx.AsyncClient(verify=context, trust_env=False) as web:
                assert (await web.post(url, json={})).status_code == 200
            await clients_find_their_way(address, tmp_path)
            # kubelet has no certificate: whether calls are served is told beside the metrics.
            async with httpx.AsyncClient(trust_env=False) as kubelet:
                answer = await kubelet.get(f"http://{gateway.endpoints['metrics']}/readyz")
            assert answer.status_code == 200


class Caller:
    """Trusts one authority, and shows a certificate of it."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        own = authority.pair("client")
        self._credentials = grpc.ssl_channel_credentials(
            authority.certificate, own.key, own.certificate
        )
        folder.mkdir()
        for name, data in (("cert", own.certificate), ("key", own.key)):
            (folder / name).write_bytes(data)
        self._context = ssl.create_default_context(cadata=authority.certificate.decode())
        self._context.load_cert_chain(folder / "cert", folder / "key")

    async def is_served(self, gateway: Gateway) -> dict[str, bool]:
        """Say which ports a new connection of his gets through to."""
        served = {}
        for name in ("address", "runner"):
            # No connection of an earlier call is used again.
            options = [("grpc.use_local_subchannel_pool", 1)]
            place = gateway.endpoints[name]
            channel = grpc.aio.secure_channel(place, self._credentials, options)
            served[name] = not await refused(channel)
        url = f"{gateway.endpoints['http']}/linnet.v1.TrainingService/ListTargets"
        try:
            async with httpx.AsyncClient(verify=self._context, trust_env=False) as web:
                served["http"] = (await web.post(url, json={})).status_code == 200
        except httpx.TransportError:
            served["http"] = False
        return served


async def test_renewed_certificates_are_shown_without_a_restart(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """Every port shows what the files hold now, whole; files that can't be used change nothing."""
    old, new = Authority(), Authority()
    mounted = Mounted(tmp_path / "tls")

    def write(authority: Authority, key: bytes | None = None) -> None:
        own = authority.pair("gateway")
        files = {"cert": own.certificate, "key": key or own.key, "ca": authority.certificate}
        mounted.write(**files)

    write(old)
    old_caller, new_caller = Caller(old, tmp_path / "old"), Caller(new, tmp_path / "new")
    everywhere = dict.fromkeys(("address", "runner", "http"), True)
    nowhere = dict.fromkeys(everywhere, False)
    async with serving(FakeAnalysts()) as analysts:
        settings = settings_for(
            tmp_path,
            s3_location,
            analysts,
            tls_certificate_file=tmp_path / "tls" / "cert",
            tls_key_file=tmp_path / "tls" / "key",
            tls_client_ca_file=tmp_path / "tls" / "ca",
        )
        async with Gateway(settings, SystemClock()) as gateway:
            assert await old_caller.is_served(gateway) == everywhere
            assert await new_caller.is_served(gateway) == nowhere
            for key in (b"no key", old.pair("other").key):
                write(new, key)
                assert await old_caller.is_served(gateway) == everywhere
            write(new)
            assert await new_caller.is_served(gateway) == everywhere
            assert await old_caller.is_served(gateway) == nowhere
            write(old)
            assert await old_caller.is_served(gateway) == everywhere


async def test_certificates_that_cannot_be_used_are_named_at_the_start(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """A key of another certificate is refused before anything is served."""
    authority = Authority()
    (tmp_path / "cert").write_bytes(authority.pair("gateway").certificate)
    (tmp_path / "key").write_bytes(authority.pair("other").key)
    async with serving(FakeAnalysts()) as analysts:
        settings = settings_for(
            tmp_path,
            s3_location,
            analysts,
            tls_certificate_file=tmp_path / "cert",
            tls_key_file=tmp_path / "key",
        )
        with pytest.raises(InvalidInput, match="TLS_CERTIFICATE_FILE"):
            async with Gateway(settings, SystemClock()):
                pass


async def clients_find_their_way(address: str, folder: Path) -> None:
    """Hold the SDK to the files that the environment names; without them it gets nowhere."""
    variables = {
        "LINNET_SERVER": f"https://{address}",
        "LINNET_CA_FILE": str(folder / "ca"),
        "LINNET_CERTIFICATE_FILE": str(folder / "client"),
        "LINNET_KEY_FILE": str(folder / "client-key"),
    }
    async with AsyncClient(resolve(None, None, folder, variables), retry=NEVER) as client:
        assert (await client.list_targets()).targets
    for left_out in (("LINNET_CA_FILE",), ("LINNET_CERTIFICATE_FILE", "LINNET_KEY_FILE")):
        fewer = {name: value for name, value in variables.items() if name not in left_out}
        async with AsyncClient(resolve(None, None, folder, fewer), retry=NEVER) as client:
            with pytest.raises(Unavailable):
                await client.list_targets()
    variables.pop("LINNET_KEY_FILE")
    with pytest.raises(InvalidInput, match="together"):
        AsyncClient(resolve(None, None, folder, variables))
