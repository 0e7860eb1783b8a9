"""Long work on the event loop, in pieces between which everybody else has a turn."""

import asyncio
import time

_PIECE_S = 0.005


class Pauses:
    """Lets others run once a piece of work has taken some milliseconds."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def between(self) -> None:
        """Call it between two steps of the work."""
        if time.perf_counter() - self._since >= _PIECE_S:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
