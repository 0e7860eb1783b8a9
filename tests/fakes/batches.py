"""Batches as a client of the fake gateway fills them."""

import grpc
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.rpc.status import from_rpc_error

from tests.fakes.gateway import PARENT, Bench, a_spec, until


def header(batch_id: str, **more: object) -> pb.BatchHeader:
    """Make the header of a batch."""
    return pb.BatchHeader(parent=PARENT, batch_id=batch_id, **more)


async def fill(bench: Bench, *messages: pb.CreateBatchRequest) -> list[pb.CreateBatchResponse]:
    """Send a whole batch and give every answer."""
    try:
        messages[-1].complete = True
        return [r async for r in bench.stub.CreateBatch(iter(messages))]
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def until_batch(bench: Bench, name: str, state: int) -> batch_pb2.Batch:
    """Wait until a batch is in a state."""
    found: list[batch_pb2.Batch] = []

    async def there() -> bool:
        found[:] = [await bench.call("GetBatch", pb.GetBatchRequest(name=name))]
        return found[0].state == state

    await until(there, 60)
    return found[0]


def counts(batch: batch_pb2.Batch) -> dict[int, int]:
    """Count the runs of a batch by state."""
    return {c.state: c.run_count for c in batch.run_counts}


def runs(count: int, epochs: int = 2) -> list[run_pb2.Run]:
    """Make runs on the dataset `watch`."""
    return [run_pb2.Run(spec=a_spec(epochs)) for _ in range(count)]
