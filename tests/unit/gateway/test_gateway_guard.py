"""What the audit log says of calls, however they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from linnet.v1 import batch_pb2, dataset_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.api.audit import BEGUN
from linnet_gateway.api.guard import Guard, RateLimits
from linnet_gateway.api.identity import Identity, StaticTokens
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import LinnetError, NotFound

RUN = "projects/demo/runs/one"
BATCH = "projects/demo/batches/many"
DATASET = "projects/demo/datasets/watch"
HEADER = "Bearer secret"


class Api:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def create_run(self, _request: pb.CreateRunRequest) -> run_pb2.Run:
        self.begun.set()
        if self.error is not None:
            raise self.error
        return run_pb2.Run(name=RUN)

    async def cancel_run(self, _request: pb.CancelRunRequest) -> run_pb2.Run:
        self.begun.set()
        await asyncio.Event().wait()
        return run_pb2.Run()

    async def get_run(self, _request: pb.GetRunRequest) -> run_pb2.Run:
        return run_pb2.Run(name=RUN)

    async def create_batch(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for _ in requests:
            yield pb.CreateBatchResponse(batch=batch_pb2.Batch(name=BATCH))

    async def create_dataset(self, _request: pb.CreateDatasetRequest) -> pb.CreateDatasetResponse:
        return pb.CreateDatasetResponse(dataset=dataset_pb2.Dataset(name=DATASET))


class Audit:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, ...]] = []

    async def write(self, *entry: str) -> None:
        await asyncio.sleep(0)
        self.written.append(entry)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def audit() -> Audit:
    return Audit()


@pytest.fixture
def guard(api: Api, audit: Audit) -> Guard:
    identity = Identity([StaticTokens.admin("secret")])
    return Guard(api, identity, audit, SystemClock(), RateLimits(per_s=1.0, burst=6.0))


async def call(guard: Guard, method: str, request: Any) -> Any:
    """Call a method as a transport does."""
    await guard.admit(method, HEADER)
    return await guard.unary(method, request)


def ended(audit: Audit) -> list[tuple[str, ...]]:
    """Give the entries of how calls ended, each with that of its beginning before it."""
    ends, begun = [], set()
    for *what, decision in audit.written:
        word, _, call_id = decision.partition(" ")
        if word == BEGUN:
            begun.add(call_id)
        elif call_id:
            begun.remove(call_id)
            ends.append((*what, word))
    assert not begun
    return ends


async def test_every_end_of_a_change_is_written_down(guard: Guard, api: Api, audit: Audit) -> None:
    """Success, refusal and a fault of our own each leave their entry; reading leaves none."""
    request = pb.CreateRunRequest(parent="projects/demo")
    await call(guard, "CreateRun", request)
    await call(guard, "GetRun", pb.GetRunRequest(name=RUN))
    api.error = NotFound("dataset", "watch")
    with pytest.raises(NotFound):
        await call(guard, "CreateRun", request)
    api.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await call(guard, "CreateRun", request)
    assert ended(audit) == [
        ("local-admin", "CreateRun", RUN, "OK"),
        ("local-admin", "CreateRun", "projects/demo", "NOT_FOUND"),
        ("local-admin", "CreateRun", "projects/demo", "INTERNAL"),
    ]


async def test_what_was_made_is_named(guard: Guard, audit: Audit) -> None:
    """Entries name the dataset and the batch that came of a call; a mere check made nothing."""
    await call(guard, "CreateDataset", pb.CreateDatasetRequest(parent="projects/demo"))
    checked = pb.CreateRunRequest(parent="projects/demo", validate_only=True)
    await call(guard, "CreateRun", checked)

    async def once() -> AsyncIterator[pb.CreateBatchRequest]:
        yield pb.CreateBatchRequest(header=pb.BatchHeader(parent="projects/demo"))

    await guard.admit("CreateBatch", HEADER)
    async for _ in guard.bidi("CreateBatch", once()):
        pass
    assert [entry[1:3] for entry in ended(audit)] == [
        ("CreateDataset", DATASET),
        ("CreateRun", "projects/demo"),
        ("CreateBatch", BATCH),
    ]


async def test_a_caller_who_goes_is_written_down(guard: Guard, api: Api, audit: Audit) -> None:
    """A call that is given up while it changes something leaves an entry that says so."""
    task = asyncio.create_task(call(guard, "CancelRun", pb.CancelRunRequest(name=RUN)))
    await api.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended(audit) == [("local-admin", "CancelRun", RUN, "INTERRUPTED")]


async def test_messages_of_a_stream_count_as_calls(guard: Guard, audit: Audit) -> None:
    """The rate of a caller ends a stream of too many messages, which is written down."""
    header = pb.BatchHeader(parent="projects/demo")

    async def endless() -> AsyncIterator[pb.CreateBatchRequest]:
        while True:
            yield pb.CreateBatchRequest(header=header)

    await guard.admit("CreateBatch", HEADER)
    stream = guard.bidi("CreateBatch", endless())
    for _ in range(6):
        await anext(stream)
    with pytest.raises(LinnetError) as caught:
        await anext(stream)
    assert caught.value.reason == "RATE_LIMITED"
    assert ended(audit) == [("local-admin", "CreateBatch", BATCH, "RATE_LIMITED")]
