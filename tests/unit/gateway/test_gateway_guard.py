"""What the audit log says of calls, however they end."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from linnet.v1 import batch_pb2, dataset_pb2, run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.api.access import Principal, Role
from linnet_gateway.api.audit import BEGUN
from linnet_gateway.api.guard import Guard, RateLimits
from linnet_gateway.api.identity import Identity, StaticTokens
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput, LinnetError, NotFound, Unauthenticated

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

    async def watch_run(self, request: pb.WatchRunRequest) -> AsyncIterator[pb.WatchRunResponse]:
        """Answer without end, or not at all where a token resumes."""
        while not request.resume_token:
            await asyncio.sleep(0)
            yield pb.WatchRunResponse()
        await asyncio.Event().wait()

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


async def exhaust(stream: AsyncIterator[Any]) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


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


async def test_a_change_is_written_down_before_it_is_made(
    guard: Guard, api: Api, audit: Audit
) -> None:
    """When a use case begins, the entry that says so is there: a kill from then on leaves it."""
    task = asyncio.create_task(call(guard, "CancelRun", pb.CancelRunRequest(name=RUN)))
    await api.begun.wait()
    [entry] = audit.written
    assert entry[:3] == ("local-admin", "CancelRun", RUN)
    assert entry[3].startswith(f"{BEGUN} ")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_refused_changes_are_written_down_and_floods_counted(
    guard: Guard, audit: Audit
) -> None:
    """Bad tokens, rates and messages leave one entry a kind, and at the end their number."""
    for _ in range(50):
        with pytest.raises(LinnetError) as unknown:
            await guard.admit("CreateRun", "Bearer guess")
        await guard.refused("CreateRun", unknown.value)
    with pytest.raises(LinnetError) as reading:
        await guard.admit("GetRun", "")
    await guard.refused("GetRun", reading.value)
    await guard.admit("CreateRun", HEADER)
    await guard.refused("CreateRun", InvalidInput.of("run", "wrong", reason="INVALID_ARGUMENT"))
    assert audit.written == [
        ("unknown", "CreateRun", "", "BAD_TOKEN"),
        ("local-admin", "CreateRun", "", "INVALID_ARGUMENT"),
    ]
    await guard.close()
    assert audit.written[2:] == [("unknown", "CreateRun", "", "BAD_TOKEN x49")]


async def test_kinds_of_refusals_are_bounded(guard: Guard, audit: Audit) -> None:
    """Whoever makes every refusal a kind of its own fills no disk: they become one number."""
    for number in range(1500):
        await guard.refused("CreateRun", InvalidInput.of("run", "wrong", reason=f"R{number}"))
    await guard.close()
    assert len(audit.written) == 1002
    assert audit.written[-1] == ("unknown", "any", "", "REFUSED x499")


async def test_a_stream_ends_with_its_token(api: Api, audit: Audit) -> None:
    """A stream that is open when its caller's token expires ends, whether it is silent or not."""

    class Expiring:
        async def identify(self, _token: str) -> Principal:
            return Principal("ann", {"*": Role.ADMIN}, expires_at_s=time.time() + 0.2)

    guard = Guard(api, Identity([Expiring()]), audit, SystemClock(), RateLimits())
    for request in (pb.WatchRunRequest(name=RUN), pb.WatchRunRequest(name=RUN, resume_token="x")):
        await guard.admit("WatchRun", HEADER)
        with pytest.raises(Unauthenticated) as caught:
            await asyncio.wait_for(exhaust(guard.stream("WatchRun", request)), 10)
        assert caught.value.reason == "EXPIRED_TOKEN"


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
