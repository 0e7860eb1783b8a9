"""The microcontrollers that the profiler knows, as far as the gateway needs them."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from linnet.v1 import profile_pb2
from linnet_runtime.clock import Clock
from linnet_runtime.errors import InvalidInput, LinnetError

_FRESH_S = 60.0


class TargetSource(Protocol):
    """What knows the targets: the profiler."""

    async def list_targets(self) -> Sequence[profile_pb2.Target]:
        """List them, ordered by id; raises `Unavailable`."""
        ...


class Targets:
    """Remembers the profiler's targets for a minute, and for longer while it can't be reached."""

    def __init__(self, source: TargetSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._known: dict[str, profile_pb2.Target] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def all(self) -> Sequence[profile_pb2.Target]:
        """List every target, ordered by id; raises `Unavailable` if none was ever read."""
        async with self._lock:
            if self._clock.monotonic() - self._read_at > _FRESH_S:
                try:
                    self._known = {t.id: t for t in await self._source.list_targets()}
                    self._read_at = self._clock.monotonic()
                except LinnetError:
                    if not self._known:
                        raise
        return list(self._known.values())

    async def get(self, target: str, field: str) -> profile_pb2.Target:
        """Give one target.

        Raises:
            InvalidInput: There is none of that id; names `field` and those that there are.
        """
        known = {t.id: t for t in await self.all()}
        if target not in known:
            raise InvalidInput.of(
                field,
                f"expected one of {', '.join(sorted(known))}, received {target!r}",
                reason="UNKNOWN_TARGET",
            )
        return known[target]
