"""Moves every run one step further, from whatever state records and launches are in.

Level-triggered: a step looks at what is, never at what was told. Each step is idempotent, so that a
gateway may die anywhere in it. Hints only say that a step is worth while.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError, NotFound, Unavailable

from linnet_gateway import attempts, transitions
from linnet_gateway.launches import sharding
from linnet_gateway.launches.launcher import Launcher
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
from linnet_gateway.ports import Batches, Launches, Runs, Work
from linnet_gateway.reconciling.analysis import Analysis
from linnet_gateway.reconciling.deadlines import Deadlines
from linnet_gateway.reconciling.hearing import Hearing
from linnet_gateway.records import LaunchState, RunRecord
from linnet_gateway.states import BatchState, Failure, FailureReason

_PAUSE_S = 0.05
_PLAN_AT_ONCE = 10_000
_RUNS_AT_ONCE = 500


class Reconciler:
    """Compares records, launches and reports."""

    def __init__(
        self,
        *,
        runs: Runs,
        work: Work,
        launches: Launches,
        batches: Batches,
        launcher: Launcher,
        launching: Launching,
        analysis: Analysis,
        deadlines: Deadlines,
        clock: Clock,
        limits: ReconcilerLimits,
    ) -> None:
        self._runs = runs
        self._work = work
        self._launches = launches
        self._batches = batches
        self._launcher = launcher
        self._launching = launching
        self._analysis = analysis
        self._deadlines = deadlines
        self._clock = clock
        self._limits = limits
        self._woken = asyncio.Event()
        self._hearing = Hearing(limits.heartbeat, timedelta(seconds=limits.idle_s))
        self._log = logs.get("linnet.reconciler")

    def wake(self) -> None:
        """Take a step soon."""
        self._woken.set()

    async def run(self, leads: Callable[[], bool]) -> None:
        """Take steps, while `leads` allows it, until cancelled."""
        hints = asyncio.create_task(self._follow_hints())
        try:
            while True:
                begun = self._clock.monotonic()
                if leads():
                    await self.step()
                else:
                    await self._guarded(self._launching.look)
                # However many hints come, two thirds of the time are left for everything else.
                took_s = self._clock.monotonic() - begun
                await self._clock.sleep(max(_PAUSE_S, 2 * took_s))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.idle_s):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            hints.cancel()
            await self._analysis.stop()

    async def _follow_hints(self) -> None:
        while True:
            with suppress(LinnetError):
                async for _ in self._launcher.changes():
                    self.wake()
            await asyncio.sleep(self._limits.idle_s)

    async def step(self) -> None:
        """Look at everything once; a part that fails does not keep the others from their turn."""
        for part in (
            self._plan,
            self._launching.compare,
            self._suspend,
            self._launching.issue,
            self._end_cancelled,
            self._end_silent,
            self._deadlines.check,
            self._analyze,
            self._end_batches,
        ):
            await self._guarded(part)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except Unavailable as error:
            self._log.warning("step_postponed", part=part.__name__, error=error.message)
        except Exception:  # noqa: BLE001 - a fault in one part must not stop the others
            self._log.exception("step_failed", part=part.__name__)

    async def _plan(self) -> None:
        waiting = await self._work.unplanned(_PLAN_AT_ONCE)
        if not waiting:
            return
        batches = {b.uid: b for b in await self._batches.live()}
        sizes = {uid: (b.shard_size, b.parallelism) for uid, b in batches.items()}
        planned = sharding.plan(waiting, sizes, self._limits.batch_parallelism, self._clock.now())
        await self._launches.plan(planned)

    async def _suspend(self) -> None:
        held = {b.uid for b in await self._batches.live() if b.state is BatchState.SUSPENDED}
        if not held:
            return
        for launch in await self._launches.live():
            if launch.batch_uid in held and launch.state is not LaunchState.STOPPING:
                await self._launching.stop(launch.uid)

    async def _end_cancelled(self) -> None:
        before = self._clock.now() - self._limits.cancel_grace
        for run in await self._work.cancelled_before(before, _RUNS_AT_ONCE):
            now = self._clock.now()
            with suppress(NotFound):
                await self._runs.change(run.uid, partial(transitions.cancelled, now=now))
            if run.launch_uid is not None and not await self._launches.unfinished(run.launch_uid):
                await self._launching.stop(run.launch_uid)

    async def _end_silent(self) -> None:
        now = self._clock.now()
        silent = await self._work.silent_since(now - self._limits.heartbeat, _RUNS_AT_ONCE)
        if not self._hearing.long_enough(now):
            return
        for run in silent:
            if run.launch_uid is not None:
                # Before its record: were that all that is done, it would hold its shard for ever.
                await self._launcher.end_trainer(run.launch_uid, run.shard, run.trainer)
                await self._charge_silent(run, run.launch_uid)

    async def _charge_silent(self, found: RunRecord, launch_uid: str) -> None:
        """Take a run back from a trainer that is silent; the next one of its shard goes on."""
        now = self._clock.now()
        limit = self._limits.heartbeat
        # A trainer that the launcher saw end is not silent but gone.
        failure = self._launching.crash_behind(launch_uid, found.shard, found.trainer) or Failure(
            FailureReason.HEARTBEAT_LOST,
            f"the trainer was silent for more than {limit.total_seconds():.0f} s",
        )

        def decide(run: RunRecord) -> RunRecord:
            last = run.last_report_time
            same = run.launch_uid == launch_uid and run.attempt == found.attempt
            if not same or not run.attempt_open or last is None or now - last <= limit:
                return run
            return attempts.lose_attempt(run, failure, self._limits.retries, now)

        with suppress(NotFound):
            await self._runs.change(found.uid, decide)

    async def _analyze(self) -> None:
        if self._analysis.room:
            for run in await self._work.trained(self._analysis.room, self._analysis.active):
                self._analysis.take(run)

    async def _end_batches(self) -> None:
        now = self._clock.now()
        for batch in await self._batches.live():
            given_up = now - batch.create_time > self._limits.filling_life
            if batch.state is BatchState.FILLING and given_up:
                await self._batches.cancel(batch.uid, now)
        await self._batches.end_finished(now)
