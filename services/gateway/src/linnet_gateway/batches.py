"""Batches: filled in chunks, each durable before it is acknowledged, and steered as a whole."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import sha256

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.clock import Clock
from linnet_runtime.errors import InvalidInput, NotAllowedInState, QuotaExceeded
from linnet_runtime.ids import ResourceName, new_id, parse_name

from linnet_gateway.batch_specs import grid_runs, grid_size, overridden
from linnet_gateway.ports import Batches
from linnet_gateway.queries import Page
from linnet_gateway.records import (
    NEW_STAGES,
    BatchCounts,
    BatchRecord,
    RunRecord,
)
from linnet_gateway.runs import RunRequests
from linnet_gateway.spec_resolution import SpecResolution
from linnet_gateway.states import BatchState
from linnet_gateway.tail import EventTail
from linnet_gateway.uids import new_uid

CHUNK = 500
_RETRY_LIMIT = 100_000
_WATCH_PAUSE_S = 0.5
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


class BatchRequests:
    """The use cases of batches."""

    def __init__(
        self,
        *,
        batches: Batches,
        runs: RunRequests,
        specs: SpecResolution,
        tail: EventTail,
        clock: Clock,
        max_runs: int,
    ) -> None:
        self._batches = batches
        self._runs = runs
        self._specs = specs
        self._tail = tail
        self._clock = clock
        self._max_runs = max_runs

    async def create(
        self, requests: AsyncIterator[pb.CreateBatchRequest]
    ) -> AsyncIterator[tuple[BatchRecord, int]]:
        """Fill a batch; gives it and the number of its durable runs after each chunk.

        A stream that ends before a message says that the batch is complete leaves it as far as it
        was acknowledged: the same request id goes on from there.

        Raises:
            InvalidInput: A run is wrong; its chunk is not stored, the ones before it are.
        """
        first = await anext(requests)
        if not first.HasField("header"):
            raise InvalidInput.of("header", "expected a header in the first message, received none")
        header = first.header
        batch = await self._begin(header)
        count = batch.run_count
        yield batch, count
        if batch.state is not BatchState.FILLING:
            return
        if header.grid:
            grid = grid_runs(header, skip=count)
            for chunk in _chunks(grid, grid_size(header) - count):
                count = await self._add(batch, header, chunk, count)
                yield batch, count
        message: pb.CreateBatchRequest = first
        while True:
            chunk = list(message.runs) + [
                overridden(header.template, override, f"overrides[{index}]")
                for index, override in enumerate(message.overrides)
            ]
            if chunk:
                count = await self._add(batch, header, chunk, count)
                yield batch, count
            if message.complete:
                filled = partial(_filled, now=self._clock.now())
                yield await self._batches.change(batch.uid, filled), count
                return
            following = await anext(requests, None)
            if following is None:
                return
            message = following
            if message.HasField("header"):
                raise InvalidInput.of("header", "expected a header in the first message only")

    async def _begin(self, header: pb.BatchHeader) -> BatchRecord:
        size = grid_size(header)
        if size > self._max_runs:
            raise InvalidInput.of(
                "header.grid", f"expected at most {self._max_runs} runs, received {size}"
            )
        wanted = header.batch
        batch = BatchRecord(
            uid=new_uid(),
            project=parse_name(header.parent, field="header.parent").project,
            id=header.batch_id or new_id("batch"),
            create_time=self._clock.now(),
            state=BatchState.FILLING,
            display_name=wanted.display_name,
            request_id=header.request_id or None,
            shard_size=wanted.shard_size,
            parallelism=wanted.parallelism,
            priority=wanted.priority,
        )
        return await self._batches.create(batch)

    async def _add(
        self, batch: BatchRecord, header: pb.BatchHeader, chunk: Sequence[run_pb2.Run], count: int
    ) -> int:
        if len(chunk) > CHUNK:
            raise InvalidInput.of("runs", f"expected at most {CHUNK} a message")
        if count + len(chunk) > self._max_runs:
            raise QuotaExceeded(
                f"expected at most {self._max_runs} runs a batch", reason="BATCH_TOO_LARGE"
            )
        await self._runs.check_quota(batch.project, len(chunk))
        records = [
            await self._record(batch, header, run, count + index, f"runs[{index}]")
            for index, run in enumerate(chunk)
        ]
        return await self._batches.add(batch.uid, records, count)

    async def _record(
        self, batch: BatchRecord, header: pb.BatchHeader, run: run_pb2.Run, place: int, path: str
    ) -> RunRecord:
        before = await self._runs.check_predecessor(
            batch.project, run.predecessor, f"{path}.predecessor"
        )
        if header.init_from_predecessor and before is not None and not run.spec.init_from:
            run.spec.init_from = before.name
        resolved = await self._specs.resolve(batch.project, run.spec, f"{path}.spec")
        record = self._runs.record(batch.project, _run_id(batch, place), run, resolved)
        return replace(
            record,
            batch_uid=batch.uid,
            batch_id=batch.id,
            batch_index=place,
            priority=batch.priority,
        )

    async def get(self, name: ResourceName) -> BatchView:
        """Read one; raises `NotFound`."""
        return await self._view(await self._batches.get(name.project, name.id))

    async def list(self, project: str, page: Page) -> Sequence[BatchRecord]:
        """List a page, newest first."""
        return await self._batches.list(project, page)

    async def view(self, batch: BatchRecord) -> BatchView:
        """Count the runs of a batch."""
        return await self._view(batch)

    async def _view(self, batch: BatchRecord) -> BatchView:
        counts = await self._batches.counts(batch.uid)
        return BatchView(batch, counts, self._eta_seconds(batch, counts))

    def _eta_seconds(self, batch: BatchRecord, counts: BatchCounts) -> float | None:
        done = sum(n for state, n in counts.states.items() if state.terminal)
        left = sum(counts.states.values()) - done
        if left == 0 or done == 0 or batch.state is not BatchState.RUNNING:
            return None
        elapsed_s = (self._clock.now() - batch.create_time).total_seconds()
        return left * elapsed_s / done

    async def cancel(self, name: ResourceName) -> BatchView:
        """Cancel every run of a batch that is not terminal."""
        batch = await self._batches.get(name.project, name.id)
        return await self._view(await self._batches.cancel(batch.uid, self._clock.now()))

    async def suspend(self, name: ResourceName) -> BatchView:
        """Launch nothing more of a batch and stop what runs."""
        return await self._move(name, BatchState.RUNNING, BatchState.SUSPENDED)

    async def resume(self, name: ResourceName) -> BatchView:
        """Go on with a suspended batch."""
        return await self._move(name, BatchState.SUSPENDED, BatchState.RUNNING)

    async def _move(self, name: ResourceName, old: BatchState, new: BatchState) -> BatchView:
        batch = await self._batches.get(name.project, name.id)

        def decide(current: BatchRecord) -> BatchRecord:
            if current.state is new:
                return current
            if current.state is not old or current.cancel_time is not None:
                raise NotAllowedInState(
                    f"batch {current.name} is {current.state.name}, expected {old.name}",
                    metadata={"batch": current.name, "state": current.state.name},
                )
            return replace(current, state=new)

        return await self._view(await self._batches.change(batch.uid, decide))

    async def retry_failed(self, name: ResourceName) -> BatchView:
        """Create a new run for each failed one that has no retry yet."""
        batch = await self._batches.get(name.project, name.id)
        if batch.state is BatchState.FILLING:
            raise NotAllowedInState(f"batch {batch.name} is being filled")
        now = self._clock.now()

        def again(run: RunRecord, place: int) -> RunRecord:
            return RunRecord(
                uid=new_uid(),
                project=run.project,
                id=_run_id(batch, place),
                create_time=now,
                update_time=now,
                spec=run.spec,
                spec_digest=run.spec_digest,
                dataset=run.dataset,
                target=run.target,
                display_name=run.display_name,
                labels=dict(run.labels),
                predecessor=run.predecessor,
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

        await self._batches.add_retries(batch.uid, again, _RETRY_LIMIT)
        return await self._view(await self._batches.get_uid(batch.uid))

    async def watch(self, name: ResourceName, token: str) -> AsyncIterator[tuple[BatchView, str]]:
        """Give the batch at each change, at most twice a second, until every run is terminal."""
        batch = await self._batches.get(name.project, name.id)
        told = token
        with self._tail.subscribe(batch.uid) as subscription:
            while True:
                view = await self._view(await self._batches.get_uid(batch.uid))
                now = _digest(view)
                done = view.batch.state is BatchState.DONE
                if now != told or done:
                    told = now
                    yield view, now
                if done:
                    return
                await subscription.wait(_WATCH_IDLE_S)
                await self._clock.sleep(_WATCH_PAUSE_S)


def _digest(view: BatchView) -> str:
    counts = view.counts
    parts = [view.batch.version, view.batch.run_count, *sorted(counts.states.items())]
    return sha256(repr((parts, sorted(counts.failures.items()))).encode()).hexdigest()[:16]


def _run_id(batch: BatchRecord, place: int) -> str:
    # The uid's end keeps runs of batches apart whose ids begin alike.
    return f"{batch.id[:22].rstrip('-')}-{batch.uid[-9:]}-{place}"


def _filled(batch: BatchRecord, *, now: datetime) -> BatchRecord:
    if batch.state is not BatchState.FILLING:
        return batch
    if batch.run_count == 0:
        return replace(batch, state=BatchState.DONE, end_time=now)
    return replace(batch, state=BatchState.RUNNING)


def _chunks(runs: Iterable[run_pb2.Run], count: int) -> Iterable[list[run_pb2.Run]]:
    iterator = iter(runs)
    for start in range(0, count, CHUNK):
        yield [next(iterator) for _ in range(min(CHUNK, count - start))]
