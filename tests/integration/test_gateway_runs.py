"""A run's way through a gateway: real SQL, S3 and gRPC; trainer processes without TensorFlow."""

import contextlib
import hashlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import NotAllowedInState, Unavailable
from linnet_runtime.s3 import S3Location

from tests.fakes.analysts import broken
from tests.fakes.gateway import (
    PARENT,
    Bench,
    a_spec,
    create_dataset_request,
    dataset_files,
    running,
    until,
)

ENDS = (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED)


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


async def test_a_run_is_trained_analyzed_and_reported(bench: Bench) -> None:
    """From a pushed dataset to a report with scores of both variants and every epoch."""
    await bench.push()
    run = await bench.submit("first", epochs=4)
    assert run.state == run_pb2.RUN_STATE_QUEUED
    done = await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED, done
    assert [s.state for s in done.stages] == [run_pb2.STAGE_STATE_SUCCEEDED] * 3
    for stage in done.stages:
        assert stage.end_time.ToNanoseconds() > stage.start_time.ToNanoseconds(), stage
    assert {v.variant: v.test_accuracy for v in done.summary.variants} == {
        run_pb2.VARIANT_FLOAT32: 0.9,
        run_pb2.VARIANT_INT8: 0.9,
    }
    report = await bench.call("GetReport", pb.GetReportRequest(name=run.name))
    assert [e.number for e in report.epochs] == [1, 2, 3, 4]
    assert len(report.evaluation.sets) == 4
    assert len(report.profiles) == 2


async def test_a_dataset_is_read_back(bench: Bench) -> None:
    """A ready dataset gives an address a file, with its digest; one that is awaited gives none."""
    await bench.push()
    request = pb.DownloadDatasetRequest(name=f"{PARENT}/datasets/watch")
    answer = await bench.call("DownloadDataset", request)
    async with httpx.AsyncClient(trust_env=False) as client:
        found = {d.name: (await client.get(d.url)).content for d in answer.downloads}
    assert found == dataset_files()
    assert {d.name: d.sha256 for d in answer.downloads} == {
        name: hashlib.sha256(data).hexdigest() for name, data in found.items()
    }
    await bench.call("CreateDataset", create_dataset_request("awaited", dataset_files()))
    with pytest.raises(NotAllowedInState) as caught:
        await bench.call(
            "DownloadDataset", pb.DownloadDatasetRequest(name=f"{PARENT}/datasets/awaited")
        )
    assert caught.value.reason == "DATASET_NOT_READY"


async def test_a_running_run_is_cancelled(bench: Bench) -> None:
    """The trainer hears of it and stops; nothing of the run goes on."""
    await bench.push()
    bench.control(hold=2)
    run = await bench.submit("stop", epochs=3)
    await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)
    asked = await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))
    assert asked.HasField("cancel_time")
    done = await bench.until_state(run.name, *ENDS)
    assert done.state == run_pb2.RUN_STATE_CANCELLED
    again = await bench.call("CancelRun", pb.CancelRunRequest(name=run.name))
    assert again.state == run_pb2.RUN_STATE_CANCELLED


async def test_a_run_that_waits_says_why(tmp_path: Path, s3_location: S3Location) -> None:
    """With one trainer at once the second run waits, tells the limit, and then has its turn."""
    async with running(tmp_path, s3_location, process_shards=1) as bench:
        await bench.push()
        bench.control(hold=2)
        first = await bench.submit("first", epochs=2)
        await bench.until_state(first.name, run_pb2.RUN_STATE_TRAINING)
        second = await bench.submit("second")

        async def told() -> bool:
            return "1 trainers run at once" in (await bench.get(second.name)).waiting

        await until(told)
        bench.control()
        done = await bench.until_state(second.name, *ENDS)
        assert (done.state, done.waiting) == (run_pb2.RUN_STATE_SUCCEEDED, "")


@pytest.mark.parametrize("exit_code", [1, 137])
async def test_a_crashed_trainer_begins_a_second_attempt(bench: Bench, exit_code: int) -> None:
    """The run goes on as attempt 2, keeps its log of both, and succeeds."""
    await bench.push()
    bench.control(crash={"*": exit_code})
    run = await bench.submit("crash", epochs=2)
    done = await bench.until_state(run.name, *ENDS)
    assert (done.state, done.attempt) == (run_pb2.RUN_STATE_SUCCEEDED, 2), done
    log = bench.stub.StreamLog(pb.StreamLogRequest(name=run.name, follow=True))
    entries = [(e.attempt, e.sequence) async for r in log for e in r.entries]
    assert entries == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]


async def test_a_failure_that_the_trainer_reports_is_final(bench: Bench) -> None:
    """A diverged training is not tried again; its reason and message are told."""
    await bench.push()
    bench.control(failure={f"{PARENT}/runs/bad": int(run_pb2.FAILURE_REASON_DIVERGED)})
    run = await bench.submit("bad")
    done = await bench.until_state(run.name, *ENDS)
    assert (done.state, done.attempt) == (run_pb2.RUN_STATE_FAILED, 1)
    assert done.failure.reason == run_pb2.FAILURE_REASON_DIVERGED
    assert done.failure.message == "told to fail"
    assert not done.artifacts


@pytest.mark.parametrize("gone", ["datasets", "runs"])
async def test_a_run_whose_inputs_are_gone_fails(
    tmp_path: Path, s3_location: S3Location, gone: str
) -> None:
    """Without its dataset, or the model that it starts from, a run fails by name, at once."""
    async with running(tmp_path, s3_location, process_shards=1) as bench:
        await bench.push()
        await bench.push("other")
        first = await bench.submit("source", epochs=1)
        await bench.until_state(first.name, run_pb2.RUN_STATE_SUCCEEDED)
        bench.control(hold=2)
        before = await bench.submit("before", epochs=2)
        await bench.until_state(before.name, run_pb2.RUN_STATE_TRAINING)
        spec = a_spec()
        spec.dataset, spec.init_from = f"{PARENT}/datasets/other", first.name
        run = await bench.call(
            "CreateRun", pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(spec=spec))
        )
        # As if it had been deleted in the moment before the run was stored.
        with contextlib.closing(sqlite3.connect(tmp_path / "records.db", timeout=30)) as records:
            name = {"datasets": "other", "runs": "source"}[gone]
            records.execute(f"DELETE FROM {gone} WHERE id = ?", [name])
            records.commit()
        bench.control()
        done = await bench.until_state(run.name, *ENDS)
        assert (done.state, done.failure.reason) == (
            run_pb2.RUN_STATE_FAILED,
            run_pb2.FAILURE_REASON_INVALID_DATA,
        )
        assert "does not exist any more" in done.failure.message
        assert done.attempt == 1
        await bench.until_state(before.name, run_pb2.RUN_STATE_SUCCEEDED)


async def test_a_log_resumes_from_any_token(bench: Bench) -> None:
    """Reading on from each token gives the rest, with nothing twice and nothing missing."""
    await bench.push()
    run = await bench.submit("log", epochs=3)
    await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    whole: list[int] = []
    tokens = [("", 0)]
    async for response in bench.stub.StreamLog(pb.StreamLogRequest(name=run.name)):
        whole += [entry.sequence for entry in response.entries]
        tokens.append((response.resume_token, len(whole)))
    assert whole == [1, 2, 3, 4, 5, 6]
    for token, seen in tokens:
        request = pb.StreamLogRequest(name=run.name, resume_token=token)
        rest = [e.sequence async for r in bench.stub.StreamLog(request) for e in r.entries]
        assert rest == whole[seen:]


async def test_analysis_is_tried_again_and_a_failed_one_is_a_warning(bench: Bench) -> None:
    """An evaluator that is away for a moment costs nothing; a broken profile keeps the model."""
    await bench.push()
    bench.analysts.failures = [Unavailable("away"), Unavailable("away")]
    first = await bench.submit("again")
    done = await bench.until_state(first.name, *ENDS)
    assert [s.state for s in done.stages] == [run_pb2.STAGE_STATE_SUCCEEDED] * 3
    bench.analysts.failures = [broken(), broken()]
    second = await bench.submit("broken")
    done = await bench.until_state(second.name, *ENDS)
    assert done.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [s.state for s in done.stages[1:]] == [run_pb2.STAGE_STATE_FAILED] * 2
    assert len(done.warnings) == 2
    assert done.stages[1].failure.reason == run_pb2.FAILURE_REASON_EVALUATION_FAILED
    url = await bench.call(
        "DownloadArtifact", pb.DownloadArtifactRequest(name=second.name, artifact="model.keras")
    )
    assert url.method == "GET"


async def test_a_silent_trainer_is_stopped_and_its_run_tried_again(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """A trainer that hangs beyond the heartbeat limit is killed, and another begins attempt 2."""
    async with running(tmp_path, s3_location, heartbeat_s=5.0) as bench:
        await bench.push()
        bench.control(hold=2)
        run = await bench.submit("hang", epochs=2)
        await bench.until_state(run.name, run_pb2.RUN_STATE_TRAINING)
        (pid,) = [int(path.read_text()) for path in trainer_pids(tmp_path)]
        os.killpg(pid, signal.SIGSTOP)
        bench.control()
        try:
            done = await bench.until_state(run.name, *ENDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)
        assert (done.state, done.attempt) == (run_pb2.RUN_STATE_SUCCEEDED, 2), done


def trainer_pids(folder: Path) -> list[Path]:
    """Give the files with the process groups of trainers."""
    return list(folder.glob("launches/*/*/pid"))
