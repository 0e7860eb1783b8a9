"""How many API calls may be under way: more while all goes well, half when told to slow down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InFlight:
    """Additive increase, multiplicative decrease, as TCP does it.

    Attributes:
        limit: Calls that may be under way now, at least 1.
        current: Calls under way.
    """

    def __init__(self, start: int, maximum: int) -> None:
        self._maximum = maximum
        self._limit = float(min(start, maximum))
        self._round = 0
        self._changed = asyncio.Condition()
        self.current = 0

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait for a free place and hold it; gives the round that the call belongs to."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.current < self.limit)
            self.current += 1
        try:
            yield self._round
        finally:
            async with self._changed:
                self.current -= 1
                self._changed.notify_all()

    def went_well(self) -> None:
        """Grow by one place for each `limit` calls that went well."""
        self._limit = min(float(self._maximum), self._limit + 1.0 / self._limit)

    def slow_down(self, round_number: int) -> None:
        """Halve the limit, once for all calls of a round."""
        if round_number == self._round:
            self._round += 1
            self._limit = max(1.0, self._limit / 2)
