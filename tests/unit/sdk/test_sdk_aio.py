"""The asyncio client against a real gRPC server."""

import inspect

import pytest
from linnet.v1 import run_pb2
from linnet_runtime.errors import NotFound
from linnet_sdk import AsyncClient, Client, ServerAddress
from linnet_sdk.aio_batches import AsyncBatches
from linnet_sdk.batches import Batches
from linnet_sdk.retries import RetryPolicy

from tests.fakes.training_service import FakeTrainingService, serving

QUICK = RetryPolicy(limit_s=10.0, first_s=0.01, longest_s=0.05)


def make_run() -> run_pb2.Run:
    run = run_pb2.Run()
    run.spec.dataset = "watch"
    return run


async def test_a_broken_watch_tells_every_epoch_once() -> None:
    """A stream that breaks after every second response still gives each epoch exactly once."""
    service = FakeTrainingService()
    with serving(service) as address:
        async with AsyncClient(ServerAddress(address), retry=QUICK) as client:
            service.refuse = 2
            await client.create_run(make_run(), run_id="r")
            service.break_streams_after = 2
            responses = [response async for response in client.watch("r")]

    assert [e.number for r in responses for e in r.epochs] == [1, 2, 3, 4, 5]
    assert responses[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_a_broken_batch_is_filled_with_every_run_once() -> None:
    """A stream of 1,200 runs that breaks after every chunk fills the batch with each run once."""
    service = FakeTrainingService()
    service.break_streams_after = 1
    runs = [run_pb2.Run(display_name=str(index)) for index in range(1200)]
    with serving(service) as address:
        async with AsyncClient(ServerAddress(address), retry=QUICK) as client:
            told = [response.accepted_count async for response in client.batches.create(runs)]

    ((_, stored),) = service.batches.values()
    assert [run.display_name for run in stored] == [str(index) for index in range(1200)]
    assert told[-1] == 1200


async def test_errors_are_those_of_the_tree() -> None:
    """NOT_FOUND arrives as the error of the tree."""
    with serving(FakeTrainingService()) as address:
        async with AsyncClient(ServerAddress(address), retry=QUICK) as client:
            with pytest.raises(NotFound) as raised:
                await client.get_run("nobody")

    assert raised.value.name == "projects/default/runs/nobody"


def test_both_clients_offer_the_same() -> None:
    """Every public method of one client is one of the other, with the same parameters."""

    def offered(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(cls).items()
            if not name.startswith("_")
        }

    assert offered(AsyncClient) == offered(Client)
    assert offered(AsyncBatches) == offered(Batches)
