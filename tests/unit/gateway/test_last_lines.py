"""The last lines of a run whose trainer left nothing behind come from its records."""

from collections.abc import Sequence

import pytest
from linnet.v1 import run_pb2, runner_service_pb2
from linnet_gateway.converters import log_lines
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.records import Event, EventKind, FileRecord, LogChunk

from tests.fakes.objectstore import MemoryStore
from tests.fakes.records import a_run


class KeptLog:
    """Log events and chunks of one run, as the records give them."""

    def __init__(self, events: Sequence[Event], chunks: Sequence[LogChunk]) -> None:
        self._events = events
        self._chunks = chunks

    async def log(self, _run_uid: str, after: tuple[int, int], limit: int) -> Sequence[Event]:
        return [one for one in self._events if (one.attempt, one.last) > after][:limit]

    async def chunks(self, _run_uid: str, after: tuple[int, int]) -> Sequence[LogChunk]:
        return [one for one in self._chunks if (one.attempt, one.last) > after]


def entries(attempt: int, first: int, last: int) -> list[run_pb2.LogEntry]:
    return [
        run_pb2.LogEntry(attempt=attempt, sequence=number, text=f"{attempt}.{number}")
        for number in range(first, last + 1)
    ]


def event(attempt: int, first: int, last: int) -> Event:
    payload = runner_service_pb2.LogEntries(entries=entries(attempt, first, last))
    return Event(
        id=last,
        kind=EventKind.LOG,
        subject="u1",
        attempt=attempt,
        first=first,
        last=last,
        payload=payload.SerializeToString(),
    )


def chunk(store: MemoryStore, attempt: int, first: int, last: int) -> LogChunk:
    key = f"{attempt}/{first}.jsonl"
    store.put(key, log_lines(entries(attempt, first, last)))
    return LogChunk("u1", attempt, first, last, FileRecord("log", key, 0, ""))


@pytest.mark.parametrize("archived", [0, 12, 30])
async def test_the_last_twenty_lines_of_the_attempt_are_given(archived: int) -> None:
    """In order, wherever they lie: as events, in the store, or in both in the moment they move."""
    store = MemoryStore()
    chunks = [chunk(store, 1, 1, 40)] + ([chunk(store, 2, 1, archived)] if archived else [])
    events = [event(2, first, first + 9) for first in range(1, 31, 10) if first + 9 > archived - 5]
    run = a_run(attempt=2, log_sequence=30)

    lines = await LastLines(KeptLog(events, chunks), store).of(run)

    assert lines == tuple(f"2.{number}" for number in range(11, 31))


async def test_a_run_that_printed_nothing_has_no_lines() -> None:
    """What earlier attempts printed is not told as the last of this one."""
    run = a_run(attempt=2, log_sequence=0)
    assert await LastLines(KeptLog([event(1, 1, 9)], []), MemoryStore()).of(run) == ()


async def test_lines_whose_object_is_gone_are_done_without() -> None:
    """A store that has lost the chunk, or is away, must not keep the failure from its record."""
    store = MemoryStore()
    lost = chunk(store, 1, 1, 25)
    store.delete([lost.file.key])
    run = a_run(attempt=1, log_sequence=30)
    lines = await LastLines(KeptLog([event(1, 26, 30)], [lost]), store).of(run)
    assert lines == tuple(f"1.{number}" for number in range(26, 31))
