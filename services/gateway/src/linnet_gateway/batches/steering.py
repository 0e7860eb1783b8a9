"""Batches: read, watched, and steered as a whole."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from linnet_runtime.clock import Clock
from linnet_runtime.errors import NotAllowedInState
from linnet_runtime.ids import ResourceName

from linnet_gateway.batches.filling import run_id
from linnet_gateway.batches.pace import BatchPace
from linnet_gateway.batches.shared_counts import SharedCounts
from linnet_gateway.converters import etag as etag_of
from linnet_gateway.datasets.lifecycle import check_etag
from linnet_gateway.ports import Batches
from linnet_gateway.queries import Page
from linnet_gateway.records import (
    NEW_STAGES,
    BatchCounts,
    BatchRecord,
    RunRecord,
)
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_gateway.states import BatchState
from linnet_gateway.tail import EventTail
from linnet_gateway.uids import new_uid

_RETRY_LIMIT = 100_000
_WATCH_IDLE_S = 15.0


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch with what is counted of it.

    Attributes:
        eta_seconds: Estimated time until its last run is terminal; None before the first is.
    """

    batch: BatchRecord
    counts: BatchCounts
    eta_seconds: float | None

    @property
    def create_time(self) -> datetime:
        """When the batch was created."""
        return self.batch.create_time

    @property
    def uid(self) -> str:
        """The batch's uid."""
        return self.batch.uid


class BatchRequests:
    """The use cases of batches."""

    def __init__(
        self,
        *,
        batches: Batches,
        runs: RunRequests,
        tail: EventTail,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._runs = runs
        self._tail = tail
        self._clock = clock
        self._pace = BatchPace()
        self._shared = SharedCounts(batches, clock)

    async def get(self, name: ResourceName) -> BatchView:
        """Read one; raises `NotFound`."""
        return await self._view(await self._batches.get(name.project, name.id))

    async def list(self, project: str, page: Page) -> Sequence[BatchView]:
        """List a page, newest first."""
        batches = await self._batches.list(project, page)
        counts = await self._batches.counts_of([batch.uid for batch in batches])
        return [self._counted(batch, counts[batch.uid]) for batch in batches]

    async def _view(self, batch: BatchRecord) -> BatchView:
        return self._counted(batch, await self._batches.counts(batch.uid))

    def _counted(self, batch: BatchRecord, counts: BatchCounts) -> BatchView:
        done = sum(count for state, count in counts.states.items() if state.terminal)
        left = sum(counts.states.values()) - done
        eta_seconds = self._pace.eta_seconds(batch, done, left, self._clock.now())
        return BatchView(batch, counts, eta_seconds)

    async def cancel(self, name: ResourceName, etag: str) -> BatchView:
        """Cancel every run of a batch that is not terminal; raises `Conflict` for another etag."""
        batch = await self._batches.get(name.project, name.id)
        if batch.cancel_time is None:
            check_etag(etag, etag_of(batch.uid, batch.version), batch.name)
        return await self._view(await self._batches.cancel(batch.uid, self._clock.now()))

    async def suspend(self, name: ResourceName, etag: str) -> BatchView:
        """Launch nothing more of a batch and stop what runs."""
        return await self._move(name, etag, BatchState.RUNNING, BatchState.SUSPENDED)

    async def resume(self, name: ResourceName, etag: str) -> BatchView:
        """Go on with a suspended batch."""
        return await self._move(name, etag, BatchState.SUSPENDED, BatchState.RUNNING)

    async def _move(
        self, name: ResourceName, etag: str, old: BatchState, new: BatchState
    ) -> BatchView:
        batch = await self._batches.get(name.project, name.id)

        def decide(current: BatchRecord) -> BatchRecord:
            if current.state is new:
                return current
            check_etag(etag, etag_of(current.uid, current.version), current.name)
            if current.state is not old or current.cancel_time is not None:
                raise NotAllowedInState(
                    f"batch {current.name} is {current.state.name}, expected {old.name}",
                    metadata={"batch": current.name, "state": current.state.name},
                )
            return replace(current, state=new)

        return await self._view(await self._batches.change(batch.uid, decide))

    async def retry_failed(self, name: ResourceName) -> BatchView:
        """Create a new run for each failed one that has no retry yet.

        Raises:
            NotAllowedInState: The batch is being filled or suspended.
            QuotaExceeded: The project would have too many runs.
        """
        batch = await self._batches.get(name.project, name.id)
        now = self._clock.now()

        def again(run: RunRecord, place: int) -> RunRecord:
            return RunRecord(
                uid=new_uid(),
                project=run.project,
                id=run_id(batch, place),
                create_time=now,
                update_time=now,
                spec=run.spec,
                spec_digest=run.spec_digest,
                dataset=run.dataset,
                target=run.target,
                display_name=run.display_name,
                labels=dict(run.labels),
                predecessor=run.predecessor,
                init_from=run.init_from,
                batch_uid=run.batch_uid,
                batch_id=run.batch_id,
                batch_index=place,
                retry_of=run.uid,
                priority=run.priority,
                stages=NEW_STAGES,
                cpu_millis=run.cpu_millis,
                memory_limit_bytes=run.memory_limit_bytes,
                deadline=run.deadline,
                expert=run.expert,
            )

        quota = self._runs.quota_of(batch.project)
        await self._batches.add_retries(batch.uid, again, _RETRY_LIMIT, quota)
        return await self._view(await self._batches.get_uid(batch.uid))

    async def watch(self, name: ResourceName, token: str) -> AsyncIterator[tuple[BatchView, str]]:
        """Give the batch at each change, at most twice a second, until every run is terminal."""
        batch = await self._batches.get(name.project, name.id)
        told = token
        with self._tail.subscribe(batch.uid) as subscription:
            while True:
                current = await self._batches.get_uid(batch.uid)
                view = self._counted(current, await self._shared.next(batch.uid))
                now = _digest(view)
                done = view.batch.state is BatchState.DONE
                if now != told or done:
                    told = now
                    yield view, now
                if done:
                    return
                await subscription.wait(_WATCH_IDLE_S)


def _digest(view: BatchView) -> str:
    counts = view.counts
    parts = [view.batch.version, view.batch.run_count, *sorted(counts.states.items())]
    return sha256(repr((parts, sorted(counts.failures.items()))).encode()).hexdigest()[:16]
