"""Tells listeners which launches changed; one that falls behind hears of each launch once."""

import asyncio
from collections.abc import AsyncIterator


class ChangeFeed:
    """Hands each uid that is told to everyone who listens."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []

    def tell(self, uid: str) -> None:
        """Say that a launch may have changed."""
        for listener in self._listeners:
            listener.pending[uid] = None
            listener.filled.set()

    async def listen(self) -> AsyncIterator[str]:
        """Give uids, in the order in which they were told, until cancelled."""
        listener = _Listener()
        self._listeners.append(listener)
        try:
            while True:
                await listener.filled.wait()
                listener.filled.clear()
                while listener.pending:
                    uid = next(iter(listener.pending))
                    del listener.pending[uid]
                    yield uid
        finally:
            self._listeners.remove(listener)


class _Listener:
    def __init__(self) -> None:
        self.pending: dict[str, None] = {}
        self.filled = asyncio.Event()
