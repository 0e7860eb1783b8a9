"""Wakes readers: one task reads new events from the records and tells whoever waits for them.

Readers get their data from the records. What is kept here is a bounded hint; a reader that falls
behind is told so and reads again.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from linnet_runtime import logs
from linnet_runtime.errors import LinnetError

from linnet_gateway.ports import Events
from linnet_gateway.records import Event, EventKind

_PAGE = 1000
_KEPT = 64
_RETRY_S = 1.0
_GATHER_S = 0.02


class Subscription:
    """Events of one run or batch, as they come."""

    def __init__(self, *, follows: bool = True) -> None:
        """Make one.

        Args:
            follows: Whether it wants output too; a trainer only hears of its run's record.
        """
        self.follows = follows
        self._events: deque[Event] = deque()
        self._came = asyncio.Event()
        self._lagged = False

    def put(self, event: Event) -> None:
        """Add an event; when too many wait, all are dropped and the reader is told."""
        if len(self._events) >= _KEPT:
            self._events.clear()
            self._lagged = True
        self._events.append(event)
        self._came.set()

    async def wait(self, timeout_s: float | None = None) -> tuple[list[Event], bool]:
        """Wait for events; give them and whether earlier ones were dropped.

        Gives nothing if none came within `timeout_s`.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._came.wait()
        self._came.clear()
        events, lagged = list(self._events), self._lagged
        self._events.clear()
        self._lagged = False
        return events, lagged


class EventTail:
    """Follows the events of the records."""

    def __init__(self, events: Events, *, idle_s: Callable[[], float]) -> None:
        """Make a tail.

        Args:
            events: The records' events.
            idle_s: Tells how long to wait before looking without having been woken: other
                replicas write too, and what wakes this one may have failed.
        """
        self._events = events
        self._idle_s = idle_s
        self._woken = asyncio.Event()
        self._last = -1
        self._subscriptions: dict[str, set[Subscription]] = defaultdict(set)
        self._listeners: list[Callable[[Event], None]] = []
        self._log = logs.get("linnet.tail")

    def wake(self) -> None:
        """Look for new events soon."""
        self._woken.set()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have a function called with every event."""
        self._listeners.append(listener)

    def followers(self, subject: str) -> int:
        """Count the clients that wait for events of a subject here."""
        return sum(s.follows for s in self._subscriptions.get(subject, ()))

    @contextmanager
    def subscribe(self, subject: str, *, follows: bool = True) -> Iterator[Subscription]:
        """Wait for events of a run or batch; a trainer waits for its own run's record only."""
        subscription = Subscription(follows=follows)
        self._subscriptions[subject].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[subject].discard(subscription)
            if not self._subscriptions[subject]:
                del self._subscriptions[subject]

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if self._last < 0:
                    self._last = await self._events.last_id()
                await self._follow()
            except LinnetError as error:
                self._log.warning("events_unreadable", error=error.message)
                await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        while True:
            found = await self._events.since(self._last, _PAGE)
            for event in found:
                self._dispatch(event)
                self._last = event.id
            if len(found) == _PAGE:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_s()):
                    await self._woken.wait()
                    # Commits come in swarms: one read serves those of the next moment too.
                    await asyncio.sleep(_GATHER_S)
            self._woken.clear()

    def _dispatch(self, event: Event) -> None:
        for subscription in self._subscriptions.get(event.subject, ()):
            if subscription.follows or event.kind is not EventKind.LOG:
                subscription.put(event)
        if event.batch_uid is not None and event.batch_uid != event.subject:
            for subscription in self._subscriptions.get(event.batch_uid, ()):
                subscription.put(event)
        for listener in self._listeners:
            listener(event)
