"""Batches through a real gateway: trained in shards, steered as a whole."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import NotAllowedInState
from linnet_runtime.s3 import S3Location

from tests.fakes.batches import counts, fill, header, runs, until_batch
from tests.fakes.gateway import PARENT, Bench, a_spec, running, until


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


async def test_a_batch_is_trained_in_shards(bench: Bench) -> None:
    """Twelve runs in three shards all succeed, watched to the end, none twice."""
    await bench.push()
    batch = batch_pb2.Batch(shard_size=4, parallelism=2)
    answers = await fill(
        bench,
        pb.CreateBatchRequest(header=header("twelve", batch=batch), runs=runs(5)),
        pb.CreateBatchRequest(runs=runs(7)),
    )
    assert [a.accepted_count for a in answers] == [0, 5, 12, 12]
    name = answers[-1].batch.name
    last = None
    async for update in bench.stub.WatchBatch(pb.WatchBatchRequest(name=name)):
        last = update.batch
    assert last is not None
    assert last.state == batch_pb2.BATCH_STATE_DONE
    assert counts(last) == {run_pb2.RUN_STATE_SUCCEEDED: 12}
    outputs = sorted(bench.folder.glob("launches/*/*/output.log"))
    listed = await bench.call(
        "ListRuns", pb.ListRunsRequest(parent=PARENT, filter='batch = "twelve"')
    )
    assert {run.attempt for run in listed.runs} == {1}
    assert sorted(run.batch_index for run in listed.runs) == list(range(12))
    assert len(outputs) <= 3


async def test_cancel_ends_every_run(bench: Bench) -> None:
    """Waiting runs end at once, those under way as soon as their trainer hears of it."""
    await bench.push()
    bench.control(hold=2)
    answers = await fill(
        bench,
        pb.CreateBatchRequest(
            header=header("stop", batch=batch_pb2.Batch(shard_size=3, parallelism=2)),
            runs=runs(9, 3),
        ),
    )
    name = answers[-1].batch.name

    async def trains() -> bool:
        batch = await bench.call("GetBatch", pb.GetBatchRequest(name=name))
        return counts(batch).get(run_pb2.RUN_STATE_TRAINING, 0) == 2

    await until(trains, 40)
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=name))
    done = await until_batch(bench, name, batch_pb2.BATCH_STATE_DONE)
    assert counts(done) == {run_pb2.RUN_STATE_CANCELLED: 9}


async def test_a_suspended_batch_launches_nothing_until_it_is_resumed(bench: Bench) -> None:
    """Suspending stops the trainers, resuming trains every run to its end."""
    await bench.push()
    bench.control(hold=2)
    answers = await fill(bench, pb.CreateBatchRequest(header=header("pause"), runs=runs(3, 3)))
    name = answers[-1].batch.name

    async def trains() -> bool:
        batch = await bench.call("GetBatch", pb.GetBatchRequest(name=name))
        return counts(batch).get(run_pb2.RUN_STATE_TRAINING, 0) > 0

    await until(trains, 40)
    await bench.call("SuspendBatch", pb.SuspendBatchRequest(name=name))

    async def all_wait() -> bool:
        batch = await bench.call("GetBatch", pb.GetBatchRequest(name=name))
        return counts(batch) == {run_pb2.RUN_STATE_QUEUED: 3}

    await until(all_wait, 40)
    with pytest.raises(NotAllowedInState):
        await bench.call("RetryFailed", pb.RetryFailedRequest(name=name))
    bench.control()
    await bench.call("ResumeBatch", pb.ResumeBatchRequest(name=name))
    done = await until_batch(bench, name, batch_pb2.BATCH_STATE_DONE)
    assert counts(done) == {run_pb2.RUN_STATE_SUCCEEDED: 3}


async def test_failed_runs_are_tried_again_once(bench: Bench) -> None:
    """RetryFailed adds one run for each failed one; asking twice adds no more."""
    await bench.push()
    bench.control(failure={"*": run_pb2.FAILURE_REASON_DIVERGED})
    answers = await fill(bench, pb.CreateBatchRequest(header=header("again"), runs=runs(2)))
    name = answers[-1].batch.name
    done = await until_batch(bench, name, batch_pb2.BATCH_STATE_DONE)
    assert counts(done) == {run_pb2.RUN_STATE_FAILED: 2}
    assert [(c.reason, c.run_count) for c in done.failure_counts] == [
        (run_pb2.FAILURE_REASON_DIVERGED, 2)
    ]
    bench.control()
    retried = await bench.call("RetryFailed", pb.RetryFailedRequest(name=name))
    assert retried.run_count == 4
    retried = await bench.call("RetryFailed", pb.RetryFailedRequest(name=name))
    assert retried.run_count == 4
    done = await until_batch(bench, name, batch_pb2.BATCH_STATE_DONE)
    assert counts(done) == {run_pb2.RUN_STATE_SUCCEEDED: 2, run_pb2.RUN_STATE_FAILED: 2}


async def test_retrained_runs_are_held_against_their_predecessors(bench: Bench) -> None:
    """A sure gain is better, one that chance may make is equal, new data are tested unpaired."""
    await bench.push()
    first = await bench.submit("first", epochs=1)
    await bench.until_state(first.name, run_pb2.RUN_STATE_SUCCEEDED)
    template = run_pb2.Run(spec=a_spec(1), predecessor=first.name)
    cases = (
        ("sure", 0.95, 0.01, run_pb2.COMPARISON_VERDICT_BETTER),
        ("chance", 0.95, 0.4, run_pb2.COMPARISON_VERDICT_EQUAL),
        ("worse", 0.80, 0.01, run_pb2.COMPARISON_VERDICT_WORSE),
        # 9 of 10 rows against none of 10, where rows can't be paired.
        ("unpaired", 0.0, None, run_pb2.COMPARISON_VERDICT_WORSE),
    )
    for batch_id, bench.analysts.accuracy, bench.analysts.p_value, verdict in cases:
        made = header(batch_id, template=template, init_from_predecessor=True)
        answers = await fill(bench, pb.CreateBatchRequest(header=made, overrides=[{}]))
        done = await until_batch(bench, answers[-1].batch.name, batch_pb2.BATCH_STATE_DONE)
        assert [(c.verdict, c.run_count) for c in done.verdict_counts] == [(verdict, 1)]
        request = pb.ListRunsRequest(parent=PARENT, filter=f'batch = "{batch_id}"')
        (run,) = (await bench.call("ListRuns", request)).runs
        assert run.spec.init_from == first.name
        paired = bench.analysts.p_value is not None
        assert run.comparison.paired_count == (10 if paired else 0)
        assert run.comparison.p_value == bench.analysts.p_value if paired else True
        assert run.comparison.p_value <= 0.05 or verdict == run_pb2.COMPARISON_VERDICT_EQUAL


async def test_a_run_without_device_models_succeeds_and_says_so(bench: Bench) -> None:
    """A model that could not be exported is kept; evaluation and profiling are left out."""
    await bench.push()
    bench.control(without=["model.float32.tflite", "model.int8.tflite"])
    run = await bench.submit("keras-only", epochs=1)
    done = await bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    states = {stage.kind: stage.state for stage in done.stages}
    assert states == {
        run_pb2.STAGE_KIND_TRAIN: run_pb2.STAGE_STATE_SUCCEEDED,
        run_pb2.STAGE_KIND_EVALUATE: run_pb2.STAGE_STATE_SKIPPED,
        run_pb2.STAGE_KIND_PROFILE: run_pb2.STAGE_STATE_SKIPPED,
    }
    assert [w for w in done.warnings if "no .tflite was exported" in w]
    assert "model.keras" in {file.name for file in done.artifacts}
    assert not bench.analysts.evaluated
