"""Follows events and keeps the run metrics up to date."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from linnet.v1 import run_pb2
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError

from linnet_gateway.metrics import MAX_LIVE_BATCHES, RunMetrics
from linnet_gateway.ports import Runs, Work
from linnet_gateway.records import Event, EventKind, RunRecord
from linnet_gateway.runs.logged_epochs import epochs_in
from linnet_gateway.tail import EventTail

_PERIOD_S = 1.0
_COUNT_EVERY = 5
_AT_ONCE = 20
_REMEMBERED_ENDS = 20_000
"""Runs that ended: what is told of one again, by events that come late, is no second end."""


class RunMeter:
    """Reads runs that changed, at most once a second each, and tells the metrics."""

    def __init__(
        self, runs: Runs, work: Work, tail: EventTail, metrics: RunMetrics, clock: Clock
    ) -> None:
        self._runs = runs
        self._work = work
        self._metrics = metrics
        self._clock = clock
        self._changed: set[str] = set()
        self._epochs: dict[str, run_pb2.Epoch] = {}
        self._epoch_count = 0
        self._known: dict[str, RunRecord] = {}
        self._begun = clock.now()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._log = logs.get("linnet.meter")
        tail.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.kind is EventKind.RUN:
            self._changed.add(event.subject)
        elif event.kind is EventKind.LOG:
            found = epochs_in(event.payload)
            self._epoch_count += len(found)
            for _, epoch in found[-1:]:
                self._epochs[event.subject] = epoch

    async def run(self, counts_ends: Callable[[], bool]) -> None:
        """Follow until cancelled.

        Args:
            counts_ends: Whether this replica is the one that counts epochs and runs that end:
                every replica hears of every run, and each is to be counted once.
        """
        turn = 0
        while True:
            try:
                await self._look(counts_ends)
                if turn % _COUNT_EVERY == 0:
                    await self._count()
            except LinnetError as error:
                self._log.warning("metrics_late", error=error.message)
            except Exception:  # noqa: BLE001 - figures are not worth the task that makes them
                self._log.exception("metrics_failed")
            turn += 1
            await asyncio.sleep(_PERIOD_S)

    async def _look(self, counts_ends: Callable[[], bool]) -> None:
        changed, self._changed = self._changed, set()
        epochs, self._epochs = self._epochs, {}
        epoch_count, self._epoch_count = self._epoch_count, 0
        if counts_ends():
            self._metrics.epochs_reported(epoch_count)
        unknown = list(changed | (epochs.keys() - self._known.keys()))
        for first in range(0, len(unknown), _AT_ONCE):
            try:
                await self._read(unknown[first : first + _AT_ONCE], counts_ends)
            except LinnetError:
                # An end that is not seen would leave the run's series for ever.
                self._changed |= set(unknown[first:])
                raise
            # Figures of a thousand runs take a while: callers do not wait for all of them.
            await asyncio.sleep(0)
        for place, (uid, epoch) in enumerate(epochs.items()):
            run = self._known.get(uid)
            if run is not None:
                self._metrics.epoch(run, epoch)
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    async def _read(self, uids: Sequence[str], counts_ends: Callable[[], bool]) -> None:
        found = {run.uid: run for run in await self._runs.get_uids(uids)}
        for uid in uids:
            run = found.get(uid)
            if run is not None and not run.state.terminal:
                self._known[uid] = run
                continue
            self._metrics.left(uid)
            self._known.pop(uid, None)
            if run is not None and self._is_new_end(run) and counts_ends():
                self._metrics.ended(run)

    def _is_new_end(self, run: RunRecord) -> bool:
        """Say whether a run ended in this gateway's time and was not seen to have ended before."""
        if run.uid in self._ended or run.end_time is None or run.end_time < self._begun:
            return False
        self._ended[run.uid] = None
        if len(self._ended) > _REMEMBERED_ENDS:
            self._ended.popitem(last=False)
        return True

    async def _count(self) -> None:
        counts = await self._work.counts()
        oldest = await self._work.oldest_queued()
        oldest_s = 0.0 if oldest is None else (self._clock.now() - oldest).total_seconds()
        self._metrics.counted(counts, oldest_s)
        self._metrics.batches_counted(await self._work.batch_counts(MAX_LIVE_BATCHES))
