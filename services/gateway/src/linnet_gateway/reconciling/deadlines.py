"""Ends runs of batches that take longer than they may; their launch has a longer time."""

from contextlib import suppress
from functools import partial

from linnet_runtime.clock import Clock
from linnet_runtime.errors import NotFound

from linnet_gateway import attempts
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.ports import Runs, Work

_PERIOD_S = 5.0
"""How late a deadline may be noticed."""


class Deadlines:
    """Looks at the runs that trainers have, now and then."""

    def __init__(self, runs: Runs, work: Work, last_lines: LastLines, clock: Clock) -> None:
        self._runs = runs
        self._work = work
        self._last_lines = last_lines
        self._clock = clock
        self._looked_at = float("-inf")

    async def check(self) -> None:
        """Fail runs that used up their deadline; their trainers hear of it and take the next."""
        since = self._clock.monotonic()
        if since - self._looked_at < _PERIOD_S:
            return
        self._looked_at = since
        now = self._clock.now()
        for run in await self._work.overdue(now):
            if attempts.overdue(run, now):
                tail = await self._last_lines.of(run)
                decide = partial(attempts.exceed_deadline, now=now, log_tail=tail)
                with suppress(NotFound):
                    await self._runs.change(run.uid, decide)
