"""The output of a run as it is stored: in events at first, in chunks of the object store later."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

from linnet.v1 import run_pb2, runner_service_pb2
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.converters import read_log_lines
from linnet_gateway.ports import Events
from linnet_gateway.records import Event, LogChunk

Position = tuple[int, int]
"""Attempt and sequence of an entry."""

ENTRIES_TOGETHER = 1000
BYTES_TOGETHER = 1024 * 1024
"""Where entries that are given together end: a message is 8 MiB at most."""
_EVENTS_AT_ONCE = 100
_PIECE_BYTES = 256 * 1024


class StoredLog:
    """Reads the output of runs, in bounded memory."""

    def __init__(self, events: Events, store: ObjectStore) -> None:
        self._events = events
        self._store = store

    async def after(
        self, run_uid: str, position: Position
    ) -> AsyncIterator[list[run_pb2.LogEntry]]:
        """Give what is stored behind an entry, all attempts in order, some entries at a time.

        Raises:
            Unavailable: Database or store can't be reached.
        """
        while True:
            begun = position
            async for entries in self._next(run_uid, position):
                new = [e for e in entries if (e.attempt, e.sequence) > position]
                for some in together(new):
                    yield some
                if new:
                    position = (new[-1].attempt, new[-1].sequence)
            if position == begun:
                return

    async def _next(self, run_uid: str, after: Position) -> AsyncIterator[list[run_pb2.LogEntry]]:
        # Entries move from events to chunks, never back: reading events first and chunks second
        # sees each of them at least once.
        events = await self._events.log(run_uid, after, _EVENTS_AT_ONCE)
        chunks = await self._events.chunks(run_uid, after)
        if chunks and (not events or _starts_before(chunks[0], events[0])):
            async for entries in self._chunk(chunks[0]):
                yield entries
            return
        found: list[run_pb2.LogEntry] = []
        for event in events:
            if chunks and _starts_before(chunks[0], event):
                break
            found += runner_service_pb2.LogEntries.FromString(event.payload).entries
        yield found

    async def _chunk(self, chunk: LogChunk) -> AsyncIterator[list[run_pb2.LogEntry]]:
        """Give the entries of a chunk, piece by piece."""
        at, rest = 0, b""
        while at < chunk.file.size_bytes:
            entries, rest = await asyncio.to_thread(self._piece, chunk, at, rest)
            at += _PIECE_BYTES
            yield entries

    def _piece(
        self, chunk: LogChunk, at: int, begun: bytes
    ) -> tuple[list[run_pb2.LogEntry], bytes]:
        """Read on from a byte, behind the line that the piece before has begun."""
        length = min(_PIECE_BYTES, chunk.file.size_bytes - at)
        data = begun + self._store.get(chunk.file.key, offset=at, length=length)
        lines, _, rest = data.rpartition(b"\n")
        entries = read_log_lines(lines)
        for entry in entries:
            entry.attempt = chunk.attempt
        return entries, rest


def _starts_before(chunk: LogChunk, event: Event) -> bool:
    return (chunk.attempt, chunk.first) < (event.attempt, event.first)


def together(entries: Iterable[run_pb2.LogEntry]) -> Iterator[list[run_pb2.LogEntry]]:
    """Give entries in lists that fit into a message; text that alone is too long is cut."""
    some: list[run_pb2.LogEntry] = []
    size_bytes = 0
    for entry in entries:
        if entry.ByteSize() > BYTES_TOGETHER:
            entry.text = f"{entry.text[: BYTES_TOGETHER // 8]}…"
        size_bytes += entry.ByteSize()
        if some and (size_bytes > BYTES_TOGETHER or len(some) == ENTRIES_TOGETHER):
            yield some
            some, size_bytes = [], entry.ByteSize()
        some.append(entry)
    if some:
        yield some
