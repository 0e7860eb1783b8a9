"""Batches: many runs that are launched, watched and cancelled together."""

import uuid
from collections.abc import Iterator, Sequence

from linnet.v1 import batch_pb2, dataset_pb2, training_service_pb2
from linnet.v1.training_service_pb2_grpc import TrainingServiceStub

from linnet_sdk.batch_chunks import Item
from linnet_sdk.calls import Calls
from linnet_sdk.requests import Maker


class Batches:
    """The part of a client that speaks of batches."""

    def __init__(self, calls: Calls, stub: TrainingServiceStub, make: Maker) -> None:
        self._calls = calls
        self._stub = stub
        self._make = make

    def create(
        self,
        runs: Sequence[Item] = (),
        *,
        header: training_service_pb2.BatchHeader | None = None,
        batch_id: str = "",
        request_id: str = "",
    ) -> Iterator[training_service_pb2.CreateBatchResponse]:
        """Create a batch of streamed runs; yields each acknowledgement.

        A stream that breaks is begun again after the runs that the gateway has.

        Args:
            runs: The runs, in order, or changes of the header's template.
            header: Template, grid and limits; parent and ids are filled in.
            batch_id: The id; made by the gateway when empty.
            request_id: Names this creation; made when empty.
        """
        first = self._make.batch_header(header, batch_id, request_id or str(uuid.uuid4()), runs)
        return self._calls.converse(
            self._stub.CreateBatch,
            first,
            lambda answer: self._make.batch_chunks(runs, first, answer.accepted_count),
            is_last=_is_filled,
        )

    def get(self, batch: str) -> batch_pb2.Batch:
        """Read a batch."""
        return self._calls.unary(self._stub.GetBatch, self._make.get_batch(batch))

    def list(self) -> Iterator[batch_pb2.Batch]:
        """List all batches, newest first, page by page."""
        token = ""
        while True:
            page = self._calls.unary(self._stub.ListBatches, self._make.list_batches(token))
            yield from page.batches
            if not (token := page.next_page_token):
                return

    def watch(
        self, batch: str, *, resume_token: str = ""
    ) -> Iterator[training_service_pb2.WatchBatchResponse]:
        """Stream a batch at each change until every run is terminal."""
        request = self._make.watch_batch(batch, resume_token)
        return self._calls.stream(self._stub.WatchBatch, request, is_last=_is_done)

    def cancel(self, batch: str) -> batch_pb2.Batch:
        """Cancel every run of a batch that is not terminal."""
        return self._calls.unary(self._stub.CancelBatch, self._make.cancel_batch(batch))

    def suspend(self, batch: str) -> batch_pb2.Batch:
        """Launch nothing more of a batch and stop what runs, until it is resumed."""
        return self._calls.unary(self._stub.SuspendBatch, self._make.suspend_batch(batch))

    def resume(self, batch: str) -> batch_pb2.Batch:
        """Go on with a suspended batch."""
        return self._calls.unary(self._stub.ResumeBatch, self._make.resume_batch(batch))

    def retry_failed(self, batch: str) -> batch_pb2.Batch:
        """Create new runs for the failed ones that have no retry yet."""
        return self._calls.unary(self._stub.RetryFailed, self._make.retry_failed(batch))

    def export(self, batch: str) -> dataset_pb2.PresignedRequest:
        """Give an address to read the results from, one Parquet file, a row a run."""
        return self._calls.unary(self._stub.ExportBatch, self._make.export_batch(batch))


def _is_done(response: training_service_pb2.WatchBatchResponse) -> bool:
    return response.batch.state == batch_pb2.BATCH_STATE_DONE


def _is_filled(response: training_service_pb2.CreateBatchResponse) -> bool:
    return response.batch.state != batch_pb2.BATCH_STATE_FILLING
