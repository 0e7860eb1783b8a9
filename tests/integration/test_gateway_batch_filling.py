"""Batches are filled in chunks by a real gateway: continued, refused, never doubled."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Value
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import AlreadyExists, InvalidInput
from linnet_runtime.s3 import S3Location

from tests.fakes.batches import fill, header, runs, until_batch
from tests.fakes.gateway import PARENT, Bench, a_spec, running


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


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


async def test_a_message_that_is_sent_again_doubles_no_run(bench: Bench) -> None:
    """Runs beside the header are the batch's first: those it has are not added, others follow."""
    await bench.push()
    bench.control(hold=1)
    whole = pb.CreateBatchRequest(header=header("one", request_id="r"), runs=runs(3))
    call = bench.stub.CreateBatch()
    await call.write(whole)
    assert [(await call.read()).accepted_count for _ in range(2)] == [0, 3]
    call.cancel()
    whole.runs.append(run_pb2.Run(spec=a_spec(7)))
    answers = await fill(bench, whole)
    assert [a.accepted_count for a in answers] == [3, 4, 4]
    assert [a.accepted_count for a in await fill(bench, whole)] == [4]
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=answers[-1].batch.name))


AXIS = pb.GridAxis(field="fit.seed", values=[Value(number_value=n) for n in (1, 2, 3)])
REUSES = {
    "settings": header("b", batch=batch_pb2.Batch(shard_size=9), grid=[AXIS]),
    "grid's middle": header(
        "b",
        grid=[pb.GridAxis(field="fit.seed", values=[Value(number_value=n) for n in (1, 9, 3)])],
    ),
    "template": header("b", grid=[AXIS], template=run_pb2.Run(spec=a_spec(4))),
    "content": header("b", grid=[AXIS], content_sha256="0" * 64),
    "id": header("other", grid=[AXIS]),
}


@pytest.mark.parametrize("what", REUSES)
async def test_a_request_id_of_another_batch_is_refused(bench: Bench, what: str) -> None:
    """Whatever differs of header, grid and digested content, the first batch stays as it is."""
    await bench.push()
    template = run_pb2.Run(spec=a_spec(1))
    asked = header("b", request_id="r", template=template, grid=[AXIS], content_sha256="1" * 64)
    call = bench.stub.CreateBatch()
    await call.write(pb.CreateBatchRequest(header=asked))
    assert [(await call.read()).accepted_count for _ in range(2)] == [0, 3]
    call.cancel()
    other = pb.BatchHeader()
    other.CopyFrom(asked)
    other.ClearField("grid")
    other.MergeFrom(REUSES[what])
    with pytest.raises(AlreadyExists) as caught:
        await fill(bench, pb.CreateBatchRequest(header=other))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert [a.accepted_count for a in await fill(bench, pb.CreateBatchRequest(header=asked))] == [
        3,
        3,
    ]


async def test_other_runs_beside_a_known_header_are_refused(bench: Bench) -> None:
    """Each run of the header's message is compared, of a batch that is filled and of one that is.

    A retraining that starts from its predecessor's weights compares what was sent, not what was
    filled in.
    """
    await bench.push()
    first = await bench.submit("first", epochs=1)
    await bench.until_state(first.name, run_pb2.RUN_STATE_SUCCEEDED)
    bench.control(hold=1)
    known = header("b", request_id="r", init_from_predecessor=True)
    sent = [run_pb2.Run(spec=a_spec(n), predecessor=first.name) for n in (1, 2, 3)]
    call = bench.stub.CreateBatch()
    await call.write(pb.CreateBatchRequest(header=known, runs=sent))
    assert [(await call.read()).accepted_count for _ in range(2)] == [0, 3]
    call.cancel()
    other = pb.CreateBatchRequest(header=known, runs=sent)
    other.runs[1].spec.fit.learning_rate = 0.5
    with pytest.raises(AlreadyExists):
        await fill(bench, other)
    answers = await fill(bench, pb.CreateBatchRequest(header=known, runs=sent))
    assert [a.accepted_count for a in answers] == [3, 3]
    with pytest.raises(AlreadyExists):
        await fill(bench, other)
    longer = pb.CreateBatchRequest(header=known, runs=[*sent, sent[0]])
    with pytest.raises(AlreadyExists):
        await fill(bench, longer)
    await bench.call("CancelBatch", pb.CancelBatchRequest(name=answers[-1].batch.name))


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
