"""Messages made to be costly: others are served meanwhile, and memory stays where it was."""

import asyncio
import base64
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench
from tests.fakes.gateway_process import GatewayProcess, spawned
from tests.support.blocking_streams import exchanged
from tests.support.refusals import bearer
from tests.support.refusals import reason as refusal

pytestmark = pytest.mark.alone

SERVICE = "linnet.v1.TrainingService"
MEBIBYTE = 1024 * 1024
LONGEST_WAIT_S = 1.0
MOST_MEMORY_BYTES = 200 * MEBIBYTE
"""The parser's list of four million parts doubles as it grows: 128 MiB, and half of it before."""
Flood = tuple[Bench, GatewayProcess]


@pytest.fixture
async def flooded(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Flood]:
    async with spawned(tmp_path, s3_location, api_token="secret") as (bench, process):
        bench.metadata = bearer("secret")
        yield bench, process


def nested(field: bytes, size: int) -> bytes:
    """Give the field of a message that is `size` bytes long, without its content."""
    length = b""
    while True:
        size, seven = size >> 7, size & 127
        length += bytes([seven | (128 if size else 0)])
        if not size:
            return field + length


def empty_layers(count: int) -> bytes:
    """Give a ValidateSpecRequest with a number of layers without a kind, two bytes each."""
    request = pb.ValidateSpecRequest(parent=PARENT)
    data = b"\x0a\x00" * count
    spec = request.spec
    for holder, field in ((spec.architecture, "layers"), (spec, "architecture"), (request, "spec")):
        number = holder.DESCRIPTOR.fields_by_name[field].number
        data = nested(bytes([number << 3 | 2]), len(data)) + data
    return pb.ValidateSpecRequest(parent=PARENT).SerializeToString() + data


def json_layers(count: int) -> bytes:
    """Give the same in JSON."""
    layers = b",".join([b"{}"] * count)
    return (
        b'{"parent":"projects/demo","spec":{"architecture":{"layers":{"layers":['
        + layers
        + b"]}}}}"
    )


def json_rows(count: int) -> bytes:
    """Give a CreateRunRequest in JSON with a number of validation rows."""
    rows = b",".join([b"1"] * count)
    return (
        b'{"parent":"projects/demo","run":{"spec":{"split":{"validation_rows":[' + rows + b"]}}}}"
    )


async def over_grpc(process: GatewayProcess, method: str, data: bytes, token: str) -> str:
    """Send bytes; gives the reason of the refusal."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            await call(data, metadata=bearer(token) if token else [], timeout=60)
    return from_rpc_error(caught.value).reason


async def over_http(
    process: GatewayProcess, method: str, data: bytes, token: str, **headers: str
) -> str:
    """Send bytes; gives the reason of the refusal."""
    authorized = {"authorization": f"Bearer {token}"} if token else {}
    told = {"content-type": "application/json"} | authorized | headers
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.post(f"{process.http}/{SERVICE}/{method}", content=data, headers=told)
    for detail in answer.json().get("details", []):
        if detail["type"] == "google.rpc.ErrorInfo":
            value = base64.b64decode(detail["value"] + "==")
            return error_details_pb2.ErrorInfo.FromString(value).reason
    return str(answer.json()["code"])


async def served_meanwhile(flooded: Flood, call: Callable[[], Awaitable[str]]) -> str:
    """Make a call and see that others get their answers, and what memory it takes."""
    bench, process = flooded
    before = process.resident_bytes()
    slowest_s, most_bytes = 0.0, before

    async def others() -> None:
        nonlocal slowest_s, most_bytes
        while True:
            begun = time.monotonic()
            await bench.call("ListPresets", pb.ListPresetsRequest())
            slowest_s = max(slowest_s, time.monotonic() - begun)
            most_bytes = max(most_bytes, process.resident_bytes())
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(others())
    try:
        reason = await call()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    assert slowest_s < LONGEST_WAIT_S
    assert most_bytes - before < MOST_MEMORY_BYTES
    return reason


@pytest.mark.parametrize("token", ["", "guess", "secret"])
async def test_costly_messages_keep_nobody_waiting(flooded: Flood, token: str) -> None:
    """Endless lists of two bytes an element, in JSON, and packed, cost no more than others have."""
    _, process = flooded
    by_token = {"": "NO_TOKEN", "guess": "BAD_TOKEN"}.get(token)
    full = 8 * MEBIBYTE - 200
    binary = partial(over_grpc, process, "ValidateSpec", token=token)
    text = partial(over_http, process, "ValidateSpec", token=token)
    rows = partial(over_http, process, "CreateRun", token=token)
    packed = {"content-encoding": "gzip"}
    cases: list[tuple[str, Callable[[], Awaitable[str]], str]] = [
        ("few layers", partial(binary, empty_layers(50_000)), "INVALID_ARGUMENT"),
        ("layers", partial(binary, empty_layers(400_000)), "INVALID_ARGUMENT"),
        ("most layers", partial(binary, empty_layers(full // 2)), "INVALID_ARGUMENT"),
        ("few in JSON", partial(text, json_layers(50_000)), "INVALID_ARGUMENT"),
        ("layers in JSON", partial(text, json_layers(400_000)), "TOO_MANY_PARTS"),
        ("most in JSON", partial(text, json_layers(full // 3)), "TOO_MANY_PARTS"),
        (
            "packed",
            partial(text, gzip.compress(json_layers(full // 3)), **packed),
            "TOO_MANY_PARTS",
        ),
        ("rows", partial(rows, json_rows(400_000)), "INVALID_INPUT"),
        (
            "rows packed",
            partial(rows, gzip.compress(json_rows(full // 2)), **packed),
            "TOO_MANY_PARTS",
        ),
        ("deep", partial(rows, b"[" * full), "TOO_MANY_PARTS"),
    ]
    for name, call, expected in cases:
        assert await served_meanwhile(flooded, call) == (by_token or expected), name


async def test_wrong_fields_of_many_runs_come_back_as_that(flooded: Flood) -> None:
    """A chunk in which every run is wrong is bad input, whatever the size of its refusal."""
    bench, _ = flooded
    run = run_pb2.Run()
    run.spec.fit.epochs = -1
    header = pb.BatchHeader(parent=PARENT)
    for count in (20, 100, 500):
        chunk = pb.CreateBatchRequest(header=header, runs=[run] * count)
        with pytest.raises(grpc.RpcError) as caught:
            await bench.stub.CreateBatch(iter([chunk]), metadata=bench.metadata).read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]  # what a call raises is also its grpc.Call


async def test_bytes_that_are_no_message_are_named_and_counted(flooded: Flood) -> None:
    """What can't be read is bad input with a reason, over gRPC and HTTP, and is counted as that."""
    _, process = flooded
    assert await over_grpc(process, "GetRun", b"\xff\xff\xff", "secret") == "MALFORMED_MESSAGE"
    for body in (b"{", b"\xff", b"[1]", b'{"name": 1}', b'{"name": "a", "name": "b"}', b"[" * 5000):
        assert await over_http(process, "GetRun", body, "secret") == "MALFORMED_MESSAGE", body[:20]
    binary = {"content-type": "application/proto"}
    assert await over_http(process, "GetRun", b"\xff", "secret", **binary) == "MALFORMED_MESSAGE"
    packed = {"content-encoding": "gzip"}
    assert await over_http(process, "GetRun", b"no", "secret", **packed) == "MALFORMED_MESSAGE"
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(process.metrics)).text
    line = 'linnet_rpc_requests_total{code="INVALID_ARGUMENT",method="TrainingService/GetRun"} 9.0'
    assert line in page


async def test_trainers_show_their_token_first(flooded: Flood) -> None:
    """Nobody makes the port of trainers read a message without a token that the gateway signed."""
    _, process = flooded
    service = "/linnet.v1.RunnerService"
    wrong = b"\xff" * MEBIBYTE
    for metadata, expected in (([], "NO_TOKEN"), (bearer("lnr.x.y"), "FORGED_TOKEN")):
        async with grpc.aio.insecure_channel(process.runner) as channel:
            finish = channel.unary_unary(f"{service}/FinishRun")
            assert await refusal(finish(wrong, metadata=metadata)) == expected
        report = exchanged(process.runner, f"{service}/Report", [wrong], metadata)
        assert await refusal(report) == expected
