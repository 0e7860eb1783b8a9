"""RunnerService: converts, and calls the use cases of trainers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from linnet.v1 import runner_service_pb2, runner_service_pb2_grpc
from linnet_runtime.errors import InvalidInput, PermissionDenied, QuotaExceeded
from linnet_runtime.rpc.admission import authorization_of, bearer_token

from linnet_gateway.reported import Report
from linnet_gateway.tail import EventTail
from linnet_gateway.trainers.ingest import Ingest
from linnet_gateway.trainers.progress import progress_of
from linnet_gateway.trainers.runner import Attempt, Runner

_CANCEL_GATHER_S = 0.25
"""How late a trainer may hear that its run is cancelled."""
_ENTRY_LIMIT_CHARACTERS = 16_384
_LONG_ENTRIES = 10_000
_LATE_ENTRY_LIMIT_CHARACTERS = 500
_MAX_ENTRIES = 1_000_000
"""Output of one attempt: the first entries may be long, all that follow are cut, and it ends."""


def _bearer(context: Any) -> str:
    return bearer_token(authorization_of(context.invocation_metadata()))


class _Session:
    """Where a stream of reports stands; a trainer that reads late is told the latest only."""

    def __init__(self, stored: int, *, cancelled: bool) -> None:
        self.stored = stored
        self.cancelled = cancelled
        self._changed = asyncio.Event()
        self._untold = False
        self._ended = False
        self._error: Exception | None = None

    def tell(self, stored: int, *, cancelled: bool) -> None:
        """Note what is stored now, and whether the run is to be cancelled."""
        self.stored = stored
        self.cancelled = self.cancelled or cancelled
        self._untold = True
        self._changed.set()

    def end(self, error: Exception | None) -> None:
        """End the stream after what is still to be told."""
        self._error = self._error or error
        self._ended = True
        self._changed.set()

    async def changes(self) -> AsyncIterator[None]:
        """Give a turn each time that something is to be told, until the end."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._untold:
                self._untold = False
                yield
            elif self._ended:
                if self._error is not None:
                    raise self._error
                return
            if self._ended:
                self._changed.set()


class RunnerServicer(runner_service_pb2_grpc.RunnerServiceServicer):
    """What trainers talk to."""

    def __init__(self, runner: Runner, ingest: Ingest, tail: EventTail) -> None:
        self._runner = runner
        self._ingest = ingest
        self._tail = tail

    async def AcquireAssignment(  # noqa: N802 - named by the contract
        self,
        request: runner_service_pb2.AcquireAssignmentRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> runner_service_pb2.AcquireAssignmentResponse:
        """Hand out the next unfinished run of a shard."""
        claim = self._runner.launch_of(_bearer(context))
        assignment = await self._runner.acquire(claim, request.shard, request.trainer)
        return runner_service_pb2.AcquireAssignmentResponse(assignment=assignment)

    async def Report(  # noqa: N802 - named by the contract
        self,
        request_iterator: AsyncIterator[runner_service_pb2.ReportRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[runner_service_pb2.ReportResponse]:
        """Take log entries and acknowledge them when they are durable."""
        claim = self._runner.run_of(_bearer(context))
        attempt = await self._runner.open_attempt(claim)
        session = _Session(attempt.run.log_sequence, cancelled=attempt.run.cancel_time is not None)
        tasks = [
            asyncio.create_task(self._take(session, attempt, request_iterator)),
            asyncio.create_task(self._mind_cancelling(session, attempt)),
        ]
        try:
            yield self._response(attempt.run.uid, session)
            async for _ in session.changes():
                yield self._response(attempt.run.uid, session)
        finally:
            for task in tasks:
                task.cancel()
            self._runner.close_attempt(attempt)

    async def _take(
        self,
        session: "_Session",
        attempt: Attempt,
        requests: AsyncIterator[runner_service_pb2.ReportRequest],
    ) -> None:
        try:
            async for request in requests:
                stored, cancelled = await self._store(attempt, request)
                session.tell(stored, cancelled=cancelled)
        except Exception as error:  # noqa: BLE001 - the trainer is told of it
            session.end(error)
        else:
            session.end(None)

    async def _mind_cancelling(self, session: "_Session", attempt: Attempt) -> None:
        try:
            with self._tail.subscribe(attempt.run.uid, follows=False) as woken:
                while True:
                    await woken.wait()
                    # A run that begins and ends changes several times: one look serves them all.
                    await asyncio.sleep(_CANCEL_GATHER_S)
                    if await self._runner.is_cancelled(attempt) and not session.cancelled:
                        session.tell(session.stored, cancelled=True)
        except Exception as error:  # noqa: BLE001 - the trainer is told of it
            session.end(error)

    def _response(self, run_uid: str, session: "_Session") -> runner_service_pb2.ReportResponse:
        return runner_service_pb2.ReportResponse(
            stored_sequence=session.stored,
            cancelled=session.cancelled,
            followed=self._tail.followers(run_uid) > 0,
        )

    async def _store(
        self, attempt: Attempt, request: runner_service_pb2.ReportRequest
    ) -> tuple[int, bool]:
        stored = await self._ingest.store(_report(attempt, request))
        if not stored.current:
            raise PermissionDenied(
                f"attempt {attempt.run.attempt} of {attempt.run.name} is not under way any more",
                reason="STALE_ATTEMPT",
            )
        if stored.gap:
            raise InvalidInput.of(
                "entries",
                f"expected the entry after sequence {stored.sequence}, "
                f"received {request.entries[0].sequence}",
                reason="SEQUENCE_GAP",
            )
        return stored.sequence, stored.cancelled

    async def CreateUploads(  # noqa: N802 - named by the contract
        self,
        request: runner_service_pb2.CreateUploadsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> runner_service_pb2.CreateUploadsResponse:
        """Give presigned addresses to put files of the attempt to."""
        claim = self._runner.run_of(_bearer(context))
        uploads = await self._runner.create_uploads(claim, request.files)
        return runner_service_pb2.CreateUploadsResponse(uploads=uploads)

    async def FinishRun(  # noqa: N802 - named by the contract
        self,
        request: runner_service_pb2.FinishRunRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> runner_service_pb2.FinishRunResponse:
        """End the attempt."""
        claim = self._runner.run_of(_bearer(context))
        state = await self._runner.finish(claim, request)
        return runner_service_pb2.FinishRunResponse(state=int(state))  # type: ignore[arg-type]  # states have the contract's numbers


def _report(attempt: Attempt, request: runner_service_pb2.ReportRequest) -> Report:
    entries = list(request.entries)
    for index, entry in enumerate(entries):
        entry.attempt = attempt.run.attempt
        if entry.sequence != entries[0].sequence + index or entry.sequence < 1:
            raise InvalidInput.of(
                f"entries[{index}].sequence",
                f"expected consecutive numbers from 1, received {entry.sequence}",
                reason="SEQUENCE_GAP",
            )
        if entry.sequence > _MAX_ENTRIES:
            raise QuotaExceeded(
                f"expected at most {_MAX_ENTRIES} entries of output an attempt",
                reason="LOG_TOO_LONG",
                metadata={"run": attempt.run.name},
            )
        late = entry.sequence > _LONG_ENTRIES
        entry.text = entry.text[: _LATE_ENTRY_LIMIT_CHARACTERS if late else _ENTRY_LIMIT_CHARACTERS]
    progress = progress_of(entries, attempt.epochs_planned)
    return Report(
        run_uid=attempt.run.uid,
        attempt=attempt.run.attempt,
        first=entries[0].sequence if entries else 0,
        last=entries[-1].sequence if entries else 0,
        entries=runner_service_pb2.LogEntries(entries=entries).SerializeToString(),
        epochs={e.sequence: e.epoch.SerializeToString() for e in entries if e.HasField("epoch")},
        progress=b"" if progress is None else progress.SerializeToString(),
        phase=int(request.phase),
        memory_bytes=request.memory_bytes,
        time_used_us=request.time_used.ToMicroseconds(),
    )
