"""Hostile callers and trainers: each case ends in a named refusal and changes nothing."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2, runner_service_pb2_grpc, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.sql.store import Records
from linnet_gateway.trainers.tokens import LaunchClaim, RunClaim, Tokens
from linnet_runtime.errors import LinnetError
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
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, serving

DAY = timedelta(days=1)
PEOPLE = {
    "admin": {"*": "admin"},
    "submitter": {"demo": "submitter"},
    "viewer": {"demo": "viewer"},
    "stranger": {"other": "admin"},
}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location, issuer: Issuer) -> AsyncIterator[Bench]:
    entries = [
        {"subject": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "roles": roles}
        for name, roles in PEOPLE.items()
    ]
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps(entries))
    with serving(issuer) as keys:
        async with running(
            tmp_path,
            s3_location,
            tokens_file=tokens,
            oidc_issuer=ISSUER,
            oidc_audience=AUDIENCE,
            oidc_jwks_url=keys,
            max_streams=5,
        ) as made:
            made.metadata = bearer("admin")
            await made.push()
            made.control(hold=2)
            yield made


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def reason(call: Any) -> str:
    """Give the reason of the refusal that a call ends in."""
    with pytest.raises((LinnetError, grpc.RpcError)) as caught:
        await call
    error = caught.value
    if isinstance(error, grpc.RpcError):
        error = from_rpc_error(error)
    assert isinstance(error, LinnetError)
    assert "Traceback" not in error.message
    return error.reason


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
    assert await records.audit.verify() is None
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


class Intruder:
    """Speaks RunnerService with whatever token it is given."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = runner_service_pb2_grpc.RunnerServiceStub(channel)

    def acquire(self, token: str, shard: int = 0) -> Any:
        request = runner_service_pb2.AcquireAssignmentRequest(shard=shard)
        return self.stub.AcquireAssignment(request, metadata=bearer(token))

    def report(self, token: str, *entries: run_pb2.LogEntry) -> Any:
        request = runner_service_pb2.ReportRequest(entries=entries)
        return _last(self.stub.Report(iter([request]), metadata=bearer(token)))

    def uploads(self, token: str, name: str = "model.keras") -> Any:
        file = dataset_pb2.StoredFile(name=name, size_bytes=1, sha256="0" * 64)
        request = runner_service_pb2.CreateUploadsRequest(files=[file])
        return self.stub.CreateUploads(request, metadata=bearer(token))

    def finish(self, token: str) -> Any:
        file = dataset_pb2.StoredFile(name="manifest.json", size_bytes=1, sha256="0" * 64)
        result = runner_service_pb2.TrainingResult(files=[file])
        request = runner_service_pb2.FinishRunRequest(result=result)
        return self.stub.FinishRun(request, metadata=bearer(token))


async def _last(stream: Any) -> Any:
    found = None
    async for response in stream:
        found = response
    return found


async def test_trainers_touch_their_own_run_only(bench: Bench) -> None:
    """Forged, expired, replayed and foreign trainer tokens, and lies in good ones, are refused."""
    one, two = await bench.submit("one"), await bench.submit("two")
    for run in (one, two):
        await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)
    records = Records(f"sqlite:///{bench.folder / 'records.db'}", lambda: datetime.now(UTC))
    tokens = Tokens(await records.secrets.key("tokens"))
    first, second = [await records.runs.get_uid(run.uid) for run in (one, two)]
    now = datetime.now(UTC)
    launch = tokens.for_launch(LaunchClaim(first.launch_uid or ""), now, DAY)
    late = tokens.for_launch(LaunchClaim(first.launch_uid or ""), now - 2 * DAY, DAY)
    ghost = tokens.for_launch(LaunchClaim("l-ghost"), now, DAY)
    forged = Tokens(b"x" * 32).for_run(RunClaim(first.uid, 1, "l"), now, DAY)
    stale = tokens.for_run(RunClaim(first.uid, 0, "l"), now, DAY)
    future = tokens.for_run(RunClaim(first.uid, 7, "l"), now, DAY)
    good = tokens.for_run(RunClaim(first.uid, 1, first.launch_uid or ""), now, DAY)
    gap = run_pb2.LogEntry(sequence=999)
    endless = run_pb2.LogEntry(sequence=1_000_001)
    async with grpc.aio.insecure_channel(bench.endpoints["runner"]) as channel:
        intruder = Intruder(channel)
        cases: dict[str, tuple[Callable[[], Any], str]] = {
            "an API token": (lambda: intruder.acquire("admin"), "WRONG_TOKEN"),
            "a run token for a launch": (lambda: intruder.acquire(good), "WRONG_TOKEN"),
            "an expired launch token": (lambda: intruder.acquire(late), "EXPIRED_TOKEN"),
            "a launch that never was": (lambda: intruder.acquire(ghost), "NOT_FOUND"),
            "another shard": (lambda: intruder.acquire(launch, 5), "INVALID_INPUT"),
            "a replayed launch token": (lambda: intruder.acquire(launch), "SHARD_BUSY"),
            "a launch token for a run": (lambda: intruder.report(launch), "WRONG_TOKEN"),
            "a forged run token": (lambda: intruder.report(forged), "FORGED_TOKEN"),
            "an attempt of the past": (lambda: intruder.report(stale), "STALE_ATTEMPT"),
            "an attempt to come": (lambda: intruder.uploads(future), "STALE_ATTEMPT"),
            "a gap in the output": (lambda: intruder.report(good, gap), "SEQUENCE_GAP"),
            "output without end": (lambda: intruder.report(good, endless), "LOG_TOO_LONG"),
            "an evaluation of its own": (lambda: intruder.uploads(good, "scores.npz"), "BAD_FILE"),
            "a way out of the folder": (lambda: intruder.uploads(good, "../x"), "BAD_FILE"),
            "another run's file": (
                lambda: intruder.uploads(good, f"../../{second.id}/model.keras"),
                "BAD_FILE",
            ),
            "a result without files": (lambda: intruder.finish(good), "FILE_MISSING"),
        }
        for case, (call, expected) in cases.items():
            assert await reason(call()) == expected, case
    again = await records.runs.get_uid(first.uid)
    assert (again.state, again.attempt, again.attempt_open) == (first.state, 1, True)
    records.close()
    for run in (one, two):
        await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))
        await bench.until_state(run.name, run_pb2.RUN_STATE_CANCELLED)


def seen(pid: str, name: str) -> str:
    """Give what the kernel shows of a process."""
    return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")


async def test_secrets_stay_out_of_sight(bench: Bench) -> None:
    """A trainer's command line, environment and launch record hold no token."""
    run = await bench.submit("quiet")
    await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)
    (token_file,) = await asyncio.to_thread(lambda: list(bench.folder.glob("launches/*/token")))
    token = token_file.read_text()
    (pid_file,) = await asyncio.to_thread(lambda: list(bench.folder.glob("launches/*/*/pid")))
    pid = pid_file.read_text()
    for name in ("cmdline", "environ"):
        assert token not in seen(pid, name)
    assert token not in (token_file.parent / "launch.json").read_text()
    assert token_file.stat().st_mode & 0o077 == 0
    await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))

    async def ended() -> bool:
        return (await bench.get(run.name)).state == run_pb2.RUN_STATE_CANCELLED

    await until(ended, 40)
