"""Fills batches: chunk by chunk, each durable before it is acknowledged."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.clock import Clock
from linnet_runtime.errors import AlreadyExists, InvalidInput, QuotaExceeded
from linnet_runtime.ids import new_id, parse_name

from linnet_gateway.batches.specs import grid_runs, grid_size, overridden
from linnet_gateway.ports import Batches
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.runs.lifecycle import RunRequests, request_digest
from linnet_gateway.specs.resolution import SpecResolution
from linnet_gateway.states import BatchState
from linnet_gateway.uids import new_uid

CHUNK = 500
_SETTINGS = ("display_name", "shard_size", "parallelism", "priority")


class BatchFilling:
    """The use case of a batch's creation."""

    def __init__(
        self,
        *,
        batches: Batches,
        runs: RunRequests,
        specs: SpecResolution,
        clock: Clock,
        max_runs: int,
    ) -> None:
        self._batches = batches
        self._runs = runs
        self._specs = specs
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
        known = await self._batches.create(batch)
        if known.uid != batch.uid:
            await self._check_same(known, batch, header)
        return known

    async def _check_same(
        self, known: BatchRecord, asked: BatchRecord, header: pb.BatchHeader
    ) -> None:
        """Refuse a request id that made another batch: by its settings, and by its grid's ends."""
        alike = all(getattr(known, name) == getattr(asked, name) for name in _SETTINGS)
        alike = alike and header.batch_id in {"", known.id}
        present = min(known.run_count, grid_size(header))
        for place in {0, present - 1} if alike and present else ():
            (stored,) = await self._batches.members(known.uid, place - 1, 1)
            run = next(iter(grid_runs(header, skip=place)))
            alike = alike and stored.spec_digest == request_digest(stored.id, run)
        if not alike:
            raise AlreadyExists(
                f"request id {known.request_id!r} was used for another batch, {known.name}",
                reason="REQUEST_ID_REUSED",
                metadata={"request_id": known.request_id or "", "name": known.name},
            )

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
        record = self._runs.record(batch.project, run_id(batch, place), run, resolved)
        return replace(
            record,
            batch_uid=batch.uid,
            batch_id=batch.id,
            batch_index=place,
            priority=batch.priority,
        )


def run_id(batch: BatchRecord, place: int) -> str:
    """Give the id of the run at a place of a batch."""
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
