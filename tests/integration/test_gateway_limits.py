"""Limits of messages, streams, pages and names: each is refused by name and changes nothing."""

import asyncio
import base64
import gzip
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.struct_pb2 import Value
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from linnet.v1 import batch_pb2, run_pb2, runner_service_pb2, runner_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet.v1.training_service_pb2_grpc import TrainingServiceStub
from linnet_runtime.errors import AlreadyExists, Conflict, InvalidInput, QuotaExceeded
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import (
    PARENT,
    Bench,
    a_spec,
    create_dataset_request,
    dataset_files,
    running,
    until,
)
from tests.support.refusals import reason

MEBIBYTE = 1024 * 1024


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    limits = {"stream_idle_s": 1.0, "rate_burst": 150.0, "rate_per_s": 50.0}
    async with running(tmp_path, s3_location, **limits) as made:
        await made.push()
        made.control(hold=1)
        yield made


async def read_all(stream: Any) -> list[Any]:
    return [response async for response in stream]


async def post(bench: Bench, method: str, content: bytes, **headers: str) -> httpx.Response:
    """Send bytes to a method over HTTP."""
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{bench.endpoints['http']}/linnet.v1.TrainingService/{method}"
        return await client.post(
            url, content=content, headers={"content-type": "application/json"} | headers
        )


async def test_messages_that_are_too_large_are_refused_and_counted(bench: Bench) -> None:
    """Beyond 8 MiB, packed or not, over gRPC or HTTP, a message is refused; a counter tells."""
    large = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(display_name="x" * 9 * MEBIBYTE))
    assert await reason(bench.call("CreateRun", large)) == "MESSAGE_TOO_LARGE"
    body = json.dumps({"parent": PARENT, "run": {"display_name": "x" * 9 * MEBIBYTE}}).encode()
    answer = await post(bench, "CreateRun", body)
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")
    bomb = await post(
        bench, "CreateRun", gzip.compress(b" " * 200 * MEBIBYTE), **{"content-encoding": "gzip"}
    )
    assert bomb.json()["code"] == "resource_exhausted"
    packed = grpc.aio.insecure_channel(
        bench.endpoints["address"], compression=grpc.Compression.Gzip
    )
    async with packed:
        bloated = pb.CreateRunRequest(
            parent=PARENT, run=run_pb2.Run(display_name="x" * 100 * MEBIBYTE)
        )
        with pytest.raises(grpc.RpcError) as caught:
            await TrainingServiceStub(packed).CreateRun(bloated)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"http://{bench.endpoints['metrics']}/metrics")).text
    assert 'linnet_rpc_oversize_total{method="TrainingService/CreateRun"} 3.0' in page
    assert not (await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))).runs


async def test_streams_do_not_last_for_ever(bench: Bench) -> None:
    """A stream that falls silent is ended; one that never stops runs into its caller's rate."""
    header = pb.CreateBatchRequest(header=pb.BatchHeader(parent=PARENT, batch_id="silent"))
    silent = bench.stub.CreateBatch()
    await silent.write(header)
    assert (await silent.read()).accepted_count == 0
    assert await reason(silent.read()) == "STREAM_IDLE"

    assert await asyncio.to_thread(flood, bench.endpoints["address"]) == "RATE_LIMITED"
    listed: list[pb.ListBatchesResponse] = []

    async def allowed() -> bool:
        try:
            request = pb.ListBatchesRequest(parent=PARENT)
            listed[:] = [await bench.call("ListBatches", request)]
        except QuotaExceeded:
            return False
        return True

    await until(allowed)
    assert {batch.run_count for batch in listed[0].batches} == {0}


def flood(address: str) -> str:
    """Send messages without end; gives the reason of the refusal."""
    header = pb.CreateBatchRequest(header=pb.BatchHeader(parent=PARENT, batch_id="endless"))
    endless = itertools.chain([header], itertools.repeat(pb.CreateBatchRequest()))
    # The blocking client: grpc.aio loses the status of a stream that ends while it writes.
    with grpc.insecure_channel(address) as channel:
        answers = TrainingServiceStub(channel).CreateBatch(endless)
        with pytest.raises(grpc.RpcError) as caught:
            list(answers)
    return from_rpc_error(caught.value).reason


async def test_page_tokens_can_not_be_made_up(bench: Bench) -> None:
    """A token that was changed, or made for another list, is refused with its field's name."""
    for index in range(3):
        await bench.submit(f"run-{index}")
    page = await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT, page_size=1))
    time_us, uid, signature = json.loads(base64.urlsafe_b64decode(page.next_page_token))
    forged = [
        [time_us + 1, uid, signature],
        [time_us, "u0", signature],
        [time_us, uid, "0" * 32],
        [time_us, uid],
        [time_us, uid, None],
    ]
    tokens = [base64.urlsafe_b64encode(json.dumps(body).encode()).decode() for body in forged]
    cases = [("ListRuns", pb.ListRunsRequest(parent=PARENT, page_token=t)) for t in tokens]
    cases += [
        ("ListRuns", pb.ListRunsRequest(parent=PARENT, page_token="no token")),
        ("ListRuns", pb.ListRunsRequest(parent="projects/o", page_token=page.next_page_token)),
        ("ListBatches", pb.ListBatchesRequest(parent=PARENT, page_token=page.next_page_token)),
        ("ListDatasets", pb.ListDatasetsRequest(parent=PARENT, page_token=page.next_page_token)),
    ]
    for method, request in cases:
        with pytest.raises(InvalidInput) as caught:
            await bench.call(method, request)
        assert caught.value.reason == "BAD_PAGE_TOKEN"
        assert caught.value.violations[0].field == "page_token"


async def test_large_runs_make_short_pages(bench: Bench) -> None:
    """Runs with large scripts fill a page by bytes; following the tokens gives every run once."""
    spec = a_spec()
    spec.architecture.script = f"# {'x' * 250_000}\ndef build_model(input_shape, num_classes): ..."
    chunk = pb.CreateBatchRequest(
        header=pb.BatchHeader(parent=PARENT, template=run_pb2.Run(spec=spec)),
        overrides=[pb.RunOverride() for _ in range(40)],
        complete=True,
    )
    await read_all(bench.stub.CreateBatch(iter([chunk])))
    names: list[str] = []
    token, pages = "", 0
    while True:
        request = pb.ListRunsRequest(parent=PARENT, page_size=1000, page_token=token)
        page = await bench.call("ListRuns", request)
        assert page.ByteSize() < 5 * MEBIBYTE
        names += [run.name for run in page.runs]
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    assert (len(names), len(set(names)), pages) == (40, 40, 3)


async def test_runs_of_a_template_keep_the_contracts_rules(bench: Bench) -> None:
    """What an override or a grid makes is held to the rules of a run that is sent whole."""
    template = run_pb2.Run(spec=a_spec())
    header = pb.BatchHeader(parent=PARENT, template=template)
    epochs = pb.RunOverride(values={"fit.epochs": Value(number_value=1e9)})
    field = pb.RunOverride(values={"fit.__class__": Value(number_value=1)})
    axis = pb.GridAxis(field="fit.learning_rate", values=[Value(number_value=7)])
    gridded = pb.BatchHeader(parent=PARENT, template=template, grid=[axis])
    cases = [
        (pb.CreateBatchRequest(header=header, overrides=[epochs]), "overrides[0].spec.fit.epochs"),
        (pb.CreateBatchRequest(header=header, overrides=[field]), "overrides[0].values"),
        (pb.CreateBatchRequest(header=gridded), "header.grid.spec.fit.learning_rate"),
    ]
    for request, path in cases:
        with pytest.raises(grpc.RpcError) as caught:
            await read_all(bench.stub.CreateBatch(iter([request])))
        error = from_rpc_error(caught.value)
        assert isinstance(error, InvalidInput)
        assert error.violations[0].field.startswith(path)
    assert not (await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))).runs


async def test_request_ids_and_etags_hold(bench: Bench) -> None:
    """A request id gives what it made, never something else; a stale etag steers no batch."""
    files = dataset_files()
    asked = create_dataset_request("ids", files)
    asked.request_id = "d1"
    first = await bench.call("CreateDataset", asked)
    again = await bench.call("CreateDataset", asked)
    assert (again.dataset.uid, len(again.uploads)) == (first.dataset.uid, 2)
    for change in ("dataset_id", "display_name"):
        other = pb.CreateDatasetRequest()
        other.CopyFrom(asked)
        if change == "dataset_id":
            other.dataset_id = "others"
        else:
            other.dataset.display_name = "another"
        assert await reason(bench.call("CreateDataset", other)) == "REQUEST_ID_REUSED"

    def batch(rate: float = 0.1, priority: int = 0) -> pb.CreateBatchRequest:
        axis = pb.GridAxis(field="fit.learning_rate", values=[Value(number_value=rate)])
        header = pb.BatchHeader(
            parent=PARENT,
            batch=batch_pb2.Batch(priority=priority),
            template=run_pb2.Run(spec=a_spec()),
            grid=[axis],
            request_id="b1",
        )
        return pb.CreateBatchRequest(header=header, complete=True)

    made = (await read_all(bench.stub.CreateBatch(iter([batch()]))))[-1].batch
    same = (await read_all(bench.stub.CreateBatch(iter([batch()]))))[-1].batch
    assert same.uid == made.uid
    for changed in (batch(rate=0.2), batch(priority=5)):
        stream = bench.stub.CreateBatch(iter([changed]))
        with pytest.raises(grpc.RpcError) as caught:
            await read_all(stream)
        error = from_rpc_error(caught.value)
        assert isinstance(error, AlreadyExists)
        assert error.reason == "REQUEST_ID_REUSED"
    for method in ("CancelBatch", "SuspendBatch"):
        request = getattr(pb, f"{method}Request")(name=made.name, etag="stale")
        with pytest.raises(Conflict):
            await bench.call(method, request)
    current = await bench.call("GetBatch", pb.GetBatchRequest(name=made.name))
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=made.name, etag=current.etag))


async def test_each_port_serves_its_own_service_only(bench: Bench) -> None:
    """Trainers' methods are not on the public ports, callers' methods not on the trainers' one."""
    acquire = runner_service_pb2.AcquireAssignmentRequest()
    async with grpc.aio.insecure_channel(bench.endpoints["address"]) as public:
        with pytest.raises(grpc.RpcError) as caught:
            await runner_service_pb2_grpc.RunnerServiceStub(public).AcquireAssignment(acquire)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        stub = reflection_pb2_grpc.ServerReflectionStub(public)
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = await read_all(stub.ServerReflectionInfo(iter([listing])))
    names = {service.name for service in answers[0].list_services_response.service}
    assert "linnet.v1.TrainingService" in names
    assert "linnet.v1.RunnerService" not in names
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{bench.endpoints['http']}/linnet.v1.RunnerService/AcquireAssignment"
        assert (await client.post(url, json={})).status_code == 404
    async with grpc.aio.insecure_channel(bench.endpoints["runner"]) as inner:
        with pytest.raises(grpc.RpcError) as caught:
            await TrainingServiceStub(inner).ListRuns(pb.ListRunsRequest(parent=PARENT))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
