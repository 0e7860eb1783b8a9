"""A request that is made again after its answer was lost is answered as the first time.

Whatever happened since: limits that are reached, a dataset that is gone, a target nobody knows.
"""

from collections.abc import AsyncIterator, Sequence

import pytest
from google.protobuf.struct_pb2 import Value
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway import transitions
from linnet_gateway.batches.filling import BatchFilling
from linnet_gateway.quotas import Quota, Quotas
from linnet_gateway.records import BatchRecord
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_runtime.errors import AlreadyExists, InvalidInput

from tests.fakes.batches import header, runs
from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import FAILURE

ONE = Quotas(Quota(max_runs=1))


async def fill(
    filling: BatchFilling, *messages: pb.CreateBatchRequest
) -> Sequence[tuple[BatchRecord, int]]:
    async def sent() -> AsyncIterator[pb.CreateBatchRequest]:
        for message in messages:
            yield message

    return [answer async for answer in filling.create(sent())]


async def test_a_run_that_was_made_is_given_again(world: World, gateway: Gateway) -> None:
    """Its project may be full and its dataset deleted: nobody is told that the run was not made."""
    requests = RunRequests(gateway.records.runs, gateway.specs, world.clock, ONE)
    run = run_pb2.Run(spec=a_spec(1))
    first = await requests.create("demo", "r", run, "request")
    assert await requests.create("demo", "r", run, "request") == first
    ended = await gateway.records.runs.change(
        first.uid, lambda r: transitions.fail(r, FAILURE, world.clock.now())
    )
    await gateway.records.datasets.delete("d1", "projects/demo/datasets/d1/", world.clock.now())
    assert await requests.create("demo", "r", run, "request") == ended
    with pytest.raises(AlreadyExists) as caught:
        await requests.create("demo", "r", run_pb2.Run(spec=a_spec(2)), "request")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert len(await gateway.records.work.unplanned(10)) == 0


async def test_a_batch_that_was_made_is_given_again(world: World, gateway: Gateway) -> None:
    """Its limits may be lower and its dataset gone."""
    axis = pb.GridAxis(field="fit.seed", values=[Value(number_value=n) for n in (1, 2, 3)])
    template = run_pb2.Run(spec=a_spec(1))
    message = pb.CreateBatchRequest(
        header=header("b", request_id="request", grid=[axis], template=template),
        runs=runs(2),
        complete=True,
    )
    answers = await fill(gateway.filling, message)
    assert [count for _, count in answers] == [0, 3, 5, 5]
    await gateway.records.batches.cancel(answers[0][0].uid, world.clock.now())
    await gateway.records.datasets.delete("d1", "projects/demo/datasets/d1/", world.clock.now())
    lower = BatchFilling(
        batches=gateway.records.batches,
        runs=RunRequests(gateway.records.runs, gateway.specs, world.clock, ONE),
        specs=gateway.specs,
        clock=world.clock,
        max_runs=2,
    )
    assert [count for _, count in await fill(lower, message)] == [5]
    message.header.request_id = "another"
    message.header.batch_id = "another"
    with pytest.raises(InvalidInput):
        await fill(lower, message)
