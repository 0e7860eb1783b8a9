"""Batches through a real gateway: filled in chunks, trained in shards, steered as a whole."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput, NotAllowedInState
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, a_spec, running, until


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


def header(batch_id: str, **more: object) -> pb.BatchHeader:
    return pb.BatchHeader(parent=PARENT, batch_id=batch_id, **more)


async def fill(bench: Bench, *messages: pb.CreateBatchRequest) -> list[pb.CreateBatchResponse]:
    """Send a whole batch and give every answer."""
    try:
        messages[-1].complete = True
        return [r async for r in bench.stub.CreateBatch(iter(messages))]
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def until_batch(bench: Bench, name: str, state: int) -> batch_pb2.Batch:
    found: list[batch_pb2.Batch] = []

    async def there() -> bool:
        found[:] = [await bench.call("GetBatch", pb.GetBatchRequest(name=name))]
        return found[0].state == state

    await until(there, 60)
    return found[0]


def counts(batch: batch_pb2.Batch) -> dict[int, int]:
    return {c.state: c.run_count for c in batch.run_counts}


def runs(count: int, epochs: int = 2) -> list[run_pb2.Run]:
    return [run_pb2.Run(spec=a_spec(epochs)) for _ in range(count)]


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


async def test_a_broken_stream_goes_on_where_it_was_acknowledged(bench: Bench) -> None:
    """The same request id continues after the durable runs, and doubles none."""
    await bench.push()
    first = pb.CreateBatchRequest(header=header("resumed", request_id="r1"), runs=runs(3))
    call = bench.stub.CreateBatch()
    await call.write(first)
    assert (await call.read()).accepted_count == 0
    assert (await call.read()).accepted_count == 3
    call.cancel()
    answers = await fill(
        bench,
        pb.CreateBatchRequest(header=header("resumed", request_id="r1")),
        pb.CreateBatchRequest(runs=runs(2)),
    )
    assert [a.accepted_count for a in answers] == [3, 5, 5]
    done = await until_batch(bench, answers[-1].batch.name, batch_pb2.BATCH_STATE_DONE)
    assert done.run_count == 5
    again = await fill(
        bench, pb.CreateBatchRequest(header=header("resumed", request_id="r1"), runs=runs(2))
    )
    assert [a.accepted_count for a in again] == [5]


async def test_a_wrong_run_refuses_its_chunk_and_keeps_the_ones_before(bench: Bench) -> None:
    """The error names run and field; the chunk before it stays accepted."""
    await bench.push()
    wrong = runs(3)
    wrong[2].spec.architecture.preset = "no-such-preset"
    with pytest.raises(InvalidInput) as caught:
        await fill(
            bench,
            pb.CreateBatchRequest(header=header("wrong"), runs=runs(2)),
            pb.CreateBatchRequest(runs=wrong),
        )
    assert caught.value.violations[0].field == "runs[2].spec.architecture.preset"
    batch = await bench.call("GetBatch", pb.GetBatchRequest(name=f"{PARENT}/batches/wrong"))
    assert (batch.run_count, batch.state) == (2, batch_pb2.BATCH_STATE_FILLING)


async def test_grid_and_overrides_change_the_template(bench: Bench) -> None:
    """A grid gives every combination, last axis fastest; an override adds one more."""
    await bench.push()
    bench.control(hold=1)
    template = run_pb2.Run(spec=a_spec(1), display_name="base")
    axes = [
        pb.GridAxis(field="fit.epochs", values=[Value(number_value=1), Value(number_value=2)]),
        pb.GridAxis(
            field="fit.learning_rate", values=[Value(number_value=0.1), Value(number_value=0.2)]
        ),
    ]
    override = pb.RunOverride(
        values={"fit.batch_size": Value(number_value=8)}, display_name="small"
    )
    answers = await fill(
        bench,
        pb.CreateBatchRequest(header=header("grid", template=template, grid=axes)),
        pb.CreateBatchRequest(overrides=[override]),
    )
    assert answers[-1].accepted_count == 5
    listed = await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))
    found = sorted(listed.runs, key=lambda run: run.batch_index)
    assert [(r.spec.fit.epochs, r.spec.fit.learning_rate) for r in found[:4]] == [
        (1, 0.1),
        (1, 0.2),
        (2, 0.1),
        (2, 0.2),
    ]
    assert (found[4].spec.fit.batch_size, found[4].display_name) == (8, "small")
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=answers[-1].batch.name))


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
