"""Counts of batches for whoever watches them: read once a tick, however many watch."""

import asyncio
from collections import OrderedDict

from linnet_runtime.clock import Clock

from linnet_gateway.ports import Batches
from linnet_gateway.records import BatchCounts

_PERIOD_S = 0.5
_MAX_BATCHES = 1024


class SharedCounts:
    """Counts the runs of each batch at most twice a second."""

    def __init__(self, batches: Batches, clock: Clock) -> None:
        self._batches = batches
        self._clock = clock
        self._coming: dict[str, asyncio.Task[BatchCounts]] = {}
        self._read_at: OrderedDict[str, float] = OrderedDict()

    async def next(self, uid: str) -> BatchCounts:
        """Give counts that were read after this was called."""
        coming = self._coming.get(uid)
        if coming is None:
            coming = self._coming[uid] = asyncio.create_task(self._read(uid))
        # Others wait for it too.
        return await asyncio.shield(coming)

    async def _read(self, uid: str) -> BatchCounts:
        try:
            since = self._clock.monotonic() - self._read_at.get(uid, float("-inf"))
            if since < _PERIOD_S:
                await self._clock.sleep(_PERIOD_S - since)
        finally:
            # Whoever asks from now on needs a later one.
            del self._coming[uid]
        self._read_at[uid] = self._clock.monotonic()
        self._read_at.move_to_end(uid)
        if len(self._read_at) > _MAX_BATCHES:
            self._read_at.popitem(last=False)
        return await self._batches.counts(uid)
