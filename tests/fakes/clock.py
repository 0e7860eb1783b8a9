"""A clock that moves only when it is told to, or when somebody sleeps on it."""

import asyncio
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Begins at a fixed time; `sleep` moves it and lets everybody else run."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)
        await asyncio.sleep(0)
