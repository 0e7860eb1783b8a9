"""The last lines that a run printed, from its records, where nothing is left of its trainer."""

import asyncio
from contextlib import suppress

from linnet.v1 import runner_service_pb2
from linnet_runtime.errors import LinnetError
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.converters import read_log_lines
from linnet_gateway.launches.plain_text import plain
from linnet_gateway.ports import Events
from linnet_gateway.records import RunRecord

_LINES = 20
_EVENTS = 100


class LastLines:
    """Reads them from events, or from the object store once they were moved there."""

    def __init__(self, events: Events, store: ObjectStore) -> None:
        self._events = events
        self._store = store

    async def of(self, run: RunRecord) -> tuple[str, ...]:
        """Give up to 20 lines of the run's attempt; none where it printed none."""
        if not run.log_sequence:
            return ()
        after = (run.attempt, max(0, run.log_sequence - _LINES))
        # Entries move from events to chunks, never back.
        events = await self._events.log(run.uid, after, _EVENTS)
        entries = [
            entry
            for event in events
            for entry in runner_service_pb2.LogEntries.FromString(event.payload).entries
        ]
        with suppress(LinnetError):
            for chunk in await self._events.chunks(run.uid, after):
                if chunk.attempt == run.attempt:
                    data = await asyncio.to_thread(self._store.get, chunk.file.key)
                    entries += read_log_lines(data)
        lines = {entry.sequence: plain(entry.text) for entry in entries if entry.text}
        return tuple(lines[sequence] for sequence in sorted(lines))[-_LINES:]
