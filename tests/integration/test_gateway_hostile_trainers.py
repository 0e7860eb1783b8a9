"""Hostile trainers: each case ends in a named refusal and changes nothing; tokens stay unseen."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2, runner_service_pb2_grpc
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.sql.store import Records
from linnet_gateway.trainers.tokens import LaunchClaim, RunClaim, Tokens
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import Bench, until
from tests.fakes.issuer import Issuer
from tests.support.blocking_streams import exchanged
from tests.support.refusals import bearer, guarded, reason

DAY = timedelta(days=1)


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with guarded(tmp_path, s3_location, Issuer()) as made:
        yield made


class Intruder:
    """Speaks RunnerService with whatever token it is given."""

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.stub = runner_service_pb2_grpc.RunnerServiceStub(channel)

    def acquire(self, token: str, shard: int = 0) -> Any:
        request = runner_service_pb2.AcquireAssignmentRequest(shard=shard)
        return self.stub.AcquireAssignment(request, metadata=bearer(token))

    def report(self, token: str, *entries: run_pb2.LogEntry) -> Any:
        request = runner_service_pb2.ReportRequest(entries=entries).SerializeToString()
        return exchanged(self.address, "/linnet.v1.RunnerService/Report", [request], bearer(token))

    def uploads(self, token: str, name: str = "model.keras") -> Any:
        file = dataset_pb2.StoredFile(name=name, size_bytes=1, sha256="0" * 64)
        request = runner_service_pb2.CreateUploadsRequest(files=[file])
        return self.stub.CreateUploads(request, metadata=bearer(token))

    def finish(self, token: str) -> Any:
        file = dataset_pb2.StoredFile(name="manifest.json", size_bytes=1, sha256="0" * 64)
        result = runner_service_pb2.TrainingResult(files=[file])
        request = runner_service_pb2.FinishRunRequest(result=result)
        return self.stub.FinishRun(request, metadata=bearer(token))


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
    address = bench.endpoints["runner"]
    async with grpc.aio.insecure_channel(address) as channel:
        intruder = Intruder(address, channel)
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
