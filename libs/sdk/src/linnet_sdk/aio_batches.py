"""Batches on an event loop: the blocking part's twin, method for method."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from linnet.v1 import batch_pb2, dataset_pb2, training_service_pb2

from linnet_sdk.aio_calls import AsyncCalls
from linnet_sdk.batch_chunks import Item
from linnet_sdk.requests import Maker

if TYPE_CHECKING:
    # Exists for type checkers only.
    from linnet.v1.training_service_pb2_grpc import TrainingServiceAsyncStub


class AsyncBatches:
    """The part of a client that speaks of batches; documented at `Batches`."""

    def __init__(self, calls: AsyncCalls, stub: "TrainingServiceAsyncStub", make: Maker) -> None:
        self._calls = calls
        self._stub = stub
        self._make = make

    async def create(
        self,
        runs: Sequence[Item] = (),
        *,
        header: training_service_pb2.BatchHeader | None = None,
        batch_id: str = "",
        request_id: str = "",
    ) -> AsyncIterator[training_service_pb2.CreateBatchResponse]:
        """Create a batch of streamed runs; yields each acknowledgement."""
        first = self._make.batch_header(header, batch_id, request_id or str(uuid.uuid4()), runs)
        async for response in self._calls.converse(
            self._stub.CreateBatch,
            first,
            lambda answer: self._make.batch_chunks(runs, first, answer.accepted_count),
            is_last=_is_filled,
        ):
            yield response

    async def get(self, batch: str) -> batch_pb2.Batch:
        """Read a batch."""
        return await self._calls.unary(self._stub.GetBatch, self._make.get_batch(batch))

    async def list(self) -> AsyncIterator[batch_pb2.Batch]:
        """List all batches, newest first, page by page."""
        token = ""
        while True:
            page = await self._calls.unary(self._stub.ListBatches, self._make.list_batches(token))
            for batch in page.batches:
                yield batch
            if not (token := page.next_page_token):
                return

    async def watch(
        self, batch: str, *, resume_token: str = ""
    ) -> AsyncIterator[training_service_pb2.WatchBatchResponse]:
        """Stream a batch at each change until every run is terminal."""
        request = self._make.watch_batch(batch, resume_token)
        async for response in self._calls.stream(self._stub.WatchBatch, request, is_last=_is_done):
            yield response

    async def cancel(self, batch: str) -> batch_pb2.Batch:
        """Cancel every run of a batch that is not terminal."""
        return await self._calls.unary(self._stub.CancelBatch, self._make.cancel_batch(batch))

    async def suspend(self, batch: str) -> batch_pb2.Batch:
        """Launch nothing more of a batch and stop what runs, until it is resumed."""
        return await self._calls.unary(self._stub.SuspendBatch, self._make.suspend_batch(batch))

    async def resume(self, batch: str) -> batch_pb2.Batch:
        """Go on with a suspended batch."""
        return await self._calls.unary(self._stub.ResumeBatch, self._make.resume_batch(batch))

    async def retry_failed(self, batch: str) -> batch_pb2.Batch:
        """Create new runs for the failed ones that have no retry yet."""
        return await self._calls.unary(self._stub.RetryFailed, self._make.retry_failed(batch))

    async def export(self, batch: str) -> dataset_pb2.PresignedRequest:
        """Give an address to read the results from, one Parquet file, a row a run."""
        return await self._calls.unary(self._stub.ExportBatch, self._make.export_batch(batch))


def _is_done(response: training_service_pb2.WatchBatchResponse) -> bool:
    return response.batch.state == batch_pb2.BATCH_STATE_DONE


def _is_filled(response: training_service_pb2.CreateBatchResponse) -> bool:
    return response.batch.state != batch_pb2.BATCH_STATE_FILLING
