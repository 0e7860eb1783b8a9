"""Equal requests at the same time share one piece of work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Work in progress by key.

    A caller that goes away does not stop the work that others wait for; when the last one has gone
    the work is cancelled.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}
        self._waiting: dict[str, int] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for the work of that key, begun here unless it is in progress."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.ensure_future(_as_coroutine(work))
            self._waiting[key] = 0
        task = self._tasks[key]
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._tasks[key]
                task.cancel()


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
