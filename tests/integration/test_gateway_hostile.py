"""Hostile callers: each case ends in a named refusal and changes nothing."""

import base64
import math
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf import struct_pb2
from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.api.access import MUTATING
from linnet_gateway.sql.store import Records
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, a_spec, create_dataset_request, dataset_files
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer
from tests.support.refusals import bearer, guarded, reason


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location, issuer: Issuer) -> AsyncIterator[Bench]:
    async with guarded(tmp_path, s3_location, issuer) as made:
        yield made


async def test_nobody_gets_in_without_a_good_token(bench: Bench, issuer: Issuer) -> None:
    """Missing, unknown, forged, expired and foreign tokens are each refused by name."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    past = datetime.now(UTC) - timedelta(hours=1)
    none = jwt.encode({"sub": "ann", "iss": ISSUER, "aud": AUDIENCE}, None, "none")
    public = "k" * 64
    symmetric = issuer.token(key=public, algorithm="HS256")
    cases: dict[str, tuple[list[tuple[str, str]], str]] = {
        "none": ([], "NO_TOKEN"),
        "another scheme": ([("authorization", "Basic YTpi")], "NO_TOKEN"),
        "empty": (bearer(""), "NO_TOKEN"),
        "unknown": (bearer("guess"), "BAD_TOKEN"),
        "endless": (bearer("x" * 5000), "BAD_TOKEN"),
        "unsigned JWT": (bearer(none), "UNKNOWN_KEY"),
        "symmetric JWT": (bearer(symmetric), "BAD_TOKEN"),
        "forged JWT": (bearer(issuer.token(key=other)), "BAD_TOKEN"),
        "expired JWT": (bearer(issuer.token(exp=past)), "EXPIRED_TOKEN"),
        "another issuer": (bearer(issuer.token(iss="https://evil.test")), "BAD_TOKEN"),
        "another audience": (bearer(issuer.token(aud="other")), "BAD_TOKEN"),
        "unknown key": (bearer(issuer.token(kid="two")), "UNKNOWN_KEY"),
    }
    for case, (metadata, expected) in cases.items():
        call = bench.stub.ListRuns(pb.ListRunsRequest(parent=PARENT), metadata=metadata)
        assert await reason(call) == expected, case
    good = bench.stub.ListRuns(pb.ListRunsRequest(parent=PARENT), metadata=bearer(issuer.token()))
    await good
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{bench.endpoints['http']}/linnet.v1.TrainingService/ListRuns"
        answer = await client.post(url, json={"parent": PARENT})
    assert answer.status_code == 401


async def test_roles_hold_in_every_project(bench: Bench) -> None:
    """A role allows what it says, in its own project only; the refusals are in the audit log."""
    run = await bench.submit("mine")
    watch = f"{PARENT}/datasets/watch"
    create = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(spec=a_spec()))
    cases: list[tuple[str, str, Any]] = [
        ("viewer", "CreateRun", create),
        ("viewer", "CancelRun", pb.CancelRunRequest(name=run.name)),
        ("submitter", "DeleteRun", pb.DeleteRunRequest(name=run.name)),
        ("submitter", "DeleteDataset", pb.DeleteDatasetRequest(name=watch)),
        ("stranger", "GetRun", pb.GetRunRequest(name=run.name)),
        ("stranger", "GetReport", pb.GetReportRequest(name=run.name)),
        ("stranger", "ListRuns", pb.ListRunsRequest(parent=PARENT)),
        ("stranger", "CreateRun", create),
        ("stranger", "CancelRun", pb.CancelRunRequest(name=run.name)),
        ("stranger", "GetDataset", pb.GetDatasetRequest(name=watch)),
        ("stranger", "DownloadDataset", pb.DownloadDatasetRequest(name=watch)),
        (
            "stranger",
            "DownloadArtifact",
            pb.DownloadArtifactRequest(name=run.name, artifact="model.int8.tflite"),
        ),
    ]
    for who, method, request in cases:
        bench.metadata = bearer(who)
        assert await reason(bench.call(method, request)) == "ROLE_REQUIRED", (who, method)
    for method, request in (
        ("StreamLog", pb.StreamLogRequest(name=run.name)),
        ("WatchRun", pb.WatchRunRequest(name=run.name)),
    ):
        stream = getattr(bench.stub, method)(request, metadata=bearer("stranger"))
        assert await reason(stream.read()) == "ROLE_REQUIRED"
    foreign = pb.CreateRunRequest(parent="projects/other", run=run_pb2.Run(spec=a_spec()))
    bench.metadata = bearer("stranger")
    assert await reason(bench.call("CreateRun", foreign)) == "INVALID_INPUT"
    bench.metadata = bearer("viewer")
    await bench.get(run.name)
    bench.metadata = bearer("submitter")
    assert (await bench.get(run.name)).cancel_time.seconds == 0
    await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))
    records = Records(f"sqlite:///{bench.folder / 'records.db'}", lambda: datetime.now(UTC))
    assert (await records.audit.verify()).broken is None
    written = {(e.actor, e.method, e.decision) async for e in records.audit.entries()}
    for who, method, _ in cases:
        if method in MUTATING:
            assert (who, method, "ROLE_REQUIRED") in written, (who, method)
    records.close()


async def test_tricks_in_names_and_sizes_are_refused(bench: Bench) -> None:
    """Path tricks, oversized lists and never-ending streams end in a refusal that names them."""
    files = dataset_files()
    escape = create_dataset_request("trick", files)
    escape.files[0].name = "../features.npy"
    large = create_dataset_request("trick", files)
    large.files[0].size_bytes = 1 << 50
    digest = create_dataset_request("trick", files)
    digest.files[0].sha256 = "nope"
    layers = a_spec()
    layers.architecture.layers.layers.extend(
        spec_pb2.Layer(kind=spec_pb2.LAYER_KIND_DENSE, units=1) for _ in range(10_000)
    )
    spec = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(spec=layers))
    name = pb.GetRunRequest(name=f"{PARENT}/runs/..%2f..%2fetc")
    parent = pb.ListRunsRequest(parent="projects/../demo")
    page = pb.ListRunsRequest(parent=PARENT, page_token="AAAA")
    terms = pb.ListRunsRequest(parent=PARENT, filter="state = 'x' OR 1=1; --")
    for method, request in (
        ("CreateDataset", escape),
        ("CreateDataset", large),
        ("CreateDataset", digest),
        ("CreateRun", spec),
        ("GetRun", name),
        ("ListRuns", parent),
        ("ListRuns", page),
        ("ListRuns", terms),
    ):
        found = await reason(bench.call(method, request))
        expected = {"INVALID_INPUT", "INVALID_ARGUMENT", "BAD_PAGE_TOKEN"}
        assert found in expected, (method, found)
    many = pb.CreateBatchRequest(
        header=pb.BatchHeader(parent=PARENT), runs=[run_pb2.Run(spec=a_spec())] * 501
    )
    call = bench.stub.CreateBatch(iter([many]), metadata=bench.metadata)
    assert await reason(call.read()) == "INVALID_ARGUMENT"
    listed = await bench.call("ListDatasets", pb.ListDatasetsRequest(parent=PARENT))
    assert [d.name for d in listed.datasets] == [f"{PARENT}/datasets/watch"]
    assert not (await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))).runs


async def test_tokens_that_a_caller_made_up_are_refused(bench: Bench) -> None:
    """Numbers beyond the records', endless nesting and other text as a token are bad input."""
    run = await bench.submit("watched")
    made_up = ["AAAA", "\u00e9", "[" * 100_000, f"[{2**63},0,0]", f"[0,{2**63},0]", "[0,-1,0]"]
    for text in made_up:
        token, shorter = (
            base64.urlsafe_b64encode(t.encode()).decode() for t in (text, text.replace(",0]", "]"))
        )
        watch = pb.WatchRunRequest(name=run.name, resume_token=token)
        log = pb.StreamLogRequest(name=run.name, resume_token=shorter)
        listed = pb.ListRunsRequest(parent=PARENT, page_token=token)
        for call in (
            bench.stub.WatchRun(watch, metadata=bench.metadata),
            bench.stub.StreamLog(log, metadata=bench.metadata),
        ):
            assert await reason(call.read()) == "INVALID_INPUT", text[:20]
        assert await reason(bench.call("ListRuns", listed)) == "BAD_PAGE_TOKEN", text[:20]
    await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))


async def test_a_filter_names_resources_of_its_project_only(bench: Bench) -> None:
    """A full name of another project, or a path that is none, is refused; the own one is taken."""
    run = await bench.submit("mine")
    for value in ("projects/other/datasets/watch", "../../watch", "projects/demo/runs/watch"):
        request = pb.ListRunsRequest(parent=PARENT, filter=f'dataset = "{value}"')
        assert await reason(bench.call("ListRuns", request)) == "INVALID_INPUT", value
    for value in ("projects/demo/datasets/watch", "watch"):
        request = pb.ListRunsRequest(parent=PARENT, filter=f'dataset = "{value}"')
        found = await bench.call("ListRuns", request)
        assert [r.name for r in found.runs] == [run.name]
    await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e300])
async def test_a_batch_of_numbers_that_are_none_is_refused(bench: Bench, number: float) -> None:
    """Overrides and grids with a number that JSON has not, or no field takes, are bad input."""
    value = struct_pb2.Value(number_value=number)
    override = pb.RunOverride()
    override.values["fit.epochs"].CopyFrom(value)
    template = run_pb2.Run(spec=a_spec())
    grid = [pb.GridAxis(field="fit.epochs", values=[value])]
    for axes, overrides in ((grid, []), ([], [override])):
        header = pb.BatchHeader(parent=PARENT, template=template, grid=axes)
        request = pb.CreateBatchRequest(header=header, overrides=overrides, complete=True)
        call = bench.stub.CreateBatch(iter([request]), metadata=bench.metadata)
        assert await reason(_every(call)) == "INVALID_INPUT"
    assert not (await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))).runs


async def _every(stream: Any) -> Sequence[Any]:
    return [response async for response in stream]


async def test_streams_of_one_caller_are_limited(bench: Bench) -> None:
    """The sixth open stream of one caller is refused; another caller still gets one."""
    run = await bench.submit("watched")
    request = pb.WatchRunRequest(name=run.name)
    open_ones = [bench.stub.WatchRun(request, metadata=bearer("viewer")) for _ in range(5)]
    for stream in open_ones:
        await stream.read()
    sixth = bench.stub.WatchRun(request, metadata=bearer("viewer"))
    assert await reason(sixth.read()) == "TOO_MANY_STREAMS"
    other = bench.stub.WatchRun(request, metadata=bearer("submitter"))
    assert (await other.read()).run.name == run.name
    for stream in [*open_ones, other]:
        stream.cancel()
    await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))


async def test_a_presigned_address_opens_one_object_only(bench: Bench) -> None:
    """An address for one key neither lists nor reads nor writes another."""
    request = create_dataset_request("second", dataset_files())
    response = await bench.call("CreateDataset", request)
    url = response.uploads[0].url
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (
            await client.put(url.replace("features", "labels"), content=b"x")
        ).status_code == 403
        assert (await client.get(url)).status_code == 403
        assert (await client.delete(url)).status_code == 403
