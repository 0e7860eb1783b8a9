"""Fills batches: chunk by chunk, each durable before it is acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from hashlib import sha256

from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.clock import Clock
from linnet_runtime.errors import AlreadyExists, InvalidInput, QuotaExceeded
from linnet_runtime.ids import new_id, parse_name

from linnet_gateway.batches.items import Items, of_grid, of_message
from linnet_gateway.batches.pauses import Pauses
from linnet_gateway.batches.specs import grid_size
from linnet_gateway.ports import Batches
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.runs.lifecycle import RunRequests, request_digest
from linnet_gateway.shared_scripts import StoredSize
from linnet_gateway.specs.resolution import SpecResolution
from linnet_gateway.states import BatchState
from linnet_gateway.uids import new_uid

CHUNK = 500
_BYTES_TOGETHER = 4 * 1024 * 1024
"""Specs of a message that are held and stored together."""
_AT_ONCE = 4
"""Messages of all callers whose runs are made at once."""


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
        self._places = asyncio.Semaphore(_AT_ONCE)

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
        size = grid_size(header)
        sent = of_message(first, header)
        # They were sent before it was known what the batch has: they are its first.
        filling = batch.state is BatchState.FILLING
        known = sent.part(0, max(count - size, 0)) if filling else sent
        await self._check_stored(batch, known, size)
        yield batch, count
        if not filling:
            return
        grid = of_grid(header, size)
        while count < size:
            count = await self._add(batch, header, grid.part(count, count + CHUNK), count)
            yield batch, count
        message: pb.CreateBatchRequest = first
        chunk = sent.part(max(batch.run_count - size, 0), len(sent))
        while True:
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
            chunk = of_message(message, header)
            if message.HasField("header"):
                raise InvalidInput.of("header", "expected a header in the first message only")

    async def _begin(self, header: pb.BatchHeader) -> BatchRecord:
        project, digest = parse_name(header.parent, field="header.parent").project, _digest(header)
        known = None
        if header.request_id:
            known = await self._batches.requested(project, header.request_id)
        if known is None:
            # Limits hold for what is new: they may have been lowered since a batch was made.
            known = await self._batches.create(self._record_of(header, project, digest))
        # A digest is empty where an earlier release made the batch.
        if known.request_digest not in {"", digest} or header.batch_id not in {"", known.id}:
            raise _reused(known)
        return known

    def _record_of(self, header: pb.BatchHeader, project: str, digest: str) -> BatchRecord:
        size = grid_size(header)
        if size > self._max_runs:
            raise InvalidInput.of(
                "header.grid", f"expected at most {self._max_runs} runs, received {size}"
            )
        wanted = header.batch
        return BatchRecord(
            uid=new_uid(),
            project=project,
            id=header.batch_id or new_id("batch"),
            create_time=self._clock.now(),
            state=BatchState.FILLING,
            display_name=wanted.display_name,
            request_id=header.request_id or None,
            shard_size=wanted.shard_size,
            parallelism=wanted.parallelism,
            priority=wanted.priority,
            request_digest=digest,
        )

    async def _check_stored(self, batch: BatchRecord, runs: Items, place: int) -> None:
        """Refuse runs that are not those that a batch holds from a place on."""
        if not runs:
            return
        stored = await self._batches.digests(batch.uid, place - 1, len(runs))
        if len(stored) != len(runs):
            raise _reused(batch)
        pauses = Pauses()
        for index, digest in enumerate(stored):
            await pauses.between()
            if request_digest(run_id(batch, place + index), runs.make(index)) != digest:
                raise _reused(batch)

    async def _add(
        self, batch: BatchRecord, header: pb.BatchHeader, chunk: Items, count: int
    ) -> int:
        if len(chunk) > CHUNK:
            raise InvalidInput.of("runs", f"expected at most {CHUNK} a message")
        if count + len(chunk) > self._max_runs:
            raise QuotaExceeded(
                f"expected at most {self._max_runs} runs a batch", reason="BATCH_TOO_LARGE"
            )
        async with self._places:
            return await self._add_some(batch, header, chunk, count)

    async def _add_some(
        self, batch: BatchRecord, header: pb.BatchHeader, chunk: Items, count: int
    ) -> int:
        """Add the runs of a message: all of them or, where one of them is wrong, none."""
        quota = self._runs.quota_of(batch.project)
        records: list[RunRecord] | None = []
        spec_bytes, stored = 0, StoredSize()
        async for record in self._records(batch, header, chunk, count):
            spec_bytes += len(record.spec)
            stored.add(record)
            if records is not None:
                records.append(record)
            if spec_bytes > _BYTES_TOGETHER:
                records = None
        if records is not None:
            return await self._batches.add(batch.uid, records, count, quota)
        # Too large to be held together: they are right, so they are made again and added in parts.
        await self._runs.check_room(batch.project, len(chunk), stored.size_bytes)
        some: list[RunRecord] = []
        async for record in self._records(batch, header, chunk, count):
            if some and sum(len(r.spec) for r in some) + len(record.spec) > _BYTES_TOGETHER:
                count = await self._batches.add(batch.uid, some, count, quota)
                some = []
            some.append(record)
        return await self._batches.add(batch.uid, some, count, quota)

    async def _records(
        self, batch: BatchRecord, header: pb.BatchHeader, chunk: Items, first: int
    ) -> AsyncIterator[RunRecord]:
        pauses = Pauses()
        for index in range(len(chunk)):
            await pauses.between()
            run = chunk.make(index)
            yield await self._record(batch, header, run, first + index, f"runs[{index}]")

    async def _record(
        self, batch: BatchRecord, header: pb.BatchHeader, run: run_pb2.Run, place: int, path: str
    ) -> RunRecord:
        # Of what was sent: what is filled in below is no part of it.
        id_ = run_id(batch, place)
        digest = request_digest(id_, run)
        before = await self._runs.check_predecessor(
            batch.project, run.predecessor, f"{path}.predecessor"
        )
        spec = run.spec
        if header.init_from_predecessor and before is not None and not spec.init_from:
            spec = spec_pb2.TrainingSpec()
            spec.CopyFrom(run.spec)
            spec.init_from = before.name
        resolved = await self._specs.resolve(batch.project, spec, f"{path}.spec")
        record = self._runs.record(batch.project, id_, run, resolved, digest=digest)
        return replace(
            record,
            batch_uid=batch.uid,
            batch_id=batch.id,
            batch_index=place,
            priority=batch.priority,
        )


def _digest(header: pb.BatchHeader) -> str:
    """Digest what a header asks for, whatever the batch is called."""
    asked = pb.BatchHeader()
    asked.CopyFrom(header)
    for field in ("batch_id", "request_id"):
        asked.ClearField(field)
    return sha256(asked.SerializeToString(deterministic=True)).hexdigest()


def _reused(known: BatchRecord) -> AlreadyExists:
    return AlreadyExists(
        f"request id {known.request_id!r} was used for another batch, {known.name}",
        reason="REQUEST_ID_REUSED",
        metadata={"request_id": known.request_id or "", "name": known.name},
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
