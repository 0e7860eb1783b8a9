"""What a gateway needs to begin may be starting at the same time: it waits for it, a while."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import Unavailable

T = TypeVar("T")

_LIMIT_S = 60.0
"""Less than the chart's startup probe gives."""
_PAUSE_S = 0.5


async def reached(what: str, ask: Callable[[], T], clock: Clock) -> T:
    """Ask another service in a thread, again and again, until it answers.

    Args:
        what: Name of the service, for the log.
        ask: The question; raises Unavailable while the service is away.
        clock: Of the gateway.

    Raises:
        Unavailable: It was away for a minute.
    """
    deadline = clock.monotonic() + _LIMIT_S
    log = logs.get("linnet.gateway")
    told = False
    while True:
        try:
            return await asyncio.to_thread(ask)
        except Unavailable as error:
            if clock.monotonic() >= deadline:
                raise
            if not told:
                log.warning("service_awaited", service=what, error=error.message)
            told = True
        await clock.sleep(_PAUSE_S)
