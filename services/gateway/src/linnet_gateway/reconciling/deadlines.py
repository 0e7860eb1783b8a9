"""Ends runs of batches that take longer than they may; their launch has a longer time."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from linnet_runtime.clock import Clock
from linnet_runtime.errors import NotFound

from linnet_gateway import attempts
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.launches.launching import Launching
from linnet_gateway.ports import Launches, Runs, Work
from linnet_gateway.records import RunRecord

_PERIOD_S = 5.0
"""How late a deadline may be noticed."""
_STUCK_S = 600.0
"""How long a trainer may take to turn to its next run; the longest step of one is an export."""


@dataclass(frozen=True, slots=True)
class _Left:
    """A shard whose run was taken from it.

    Attributes:
        since: Monotonic time.
        unfinished: Runs that it had to do then.
    """

    since: float
    unfinished: int


class Deadlines:
    """Looks at the runs that trainers have, now and then."""

    def __init__(
        self,
        *,
        runs: Runs,
        work: Work,
        launches: Launches,
        launching: Launching,
        last_lines: LastLines,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._work = work
        self._launches = launches
        self._launching = launching
        self._last_lines = last_lines
        self._clock = clock
        self._looked_at = float("-inf")
        self._left: dict[tuple[str, int], _Left] = {}

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
                    await self._note(run, since)
        await self._end_stuck(since)

    async def _note(self, run: RunRecord, since: float) -> None:
        if run.launch_uid is not None:
            unfinished = await self._launches.unfinished(run.launch_uid, [run.shard])
            self._left[run.launch_uid, run.shard] = _Left(since, len(unfinished))

    async def _end_stuck(self, since: float) -> None:
        """Stop launches with a trainer that hears nothing; their other runs go on in the next."""
        for (uid, shard), left in list(self._left.items()):
            if since - left.since < _STUCK_S:
                continue
            del self._left[uid, shard]
            unfinished = await self._launches.unfinished(uid, [shard])
            waits = not any(run.attempt_open for run in unfinished)
            alive = self._launching.runs(uid, shard)
            if unfinished and len(unfinished) == left.unfinished and waits and alive:
                await self._launching.stop(uid)
