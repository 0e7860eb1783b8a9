"""The blocking client."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc
from linnet.v1 import batch_pb2, dataset_pb2, run_pb2, spec_pb2, training_service_pb2
from linnet.v1.training_service_pb2_grpc import TrainingServiceStub
from linnet_runtime.errors import LinnetError, Unavailable

from linnet_sdk import channels, datasets, requests, transfers
from linnet_sdk.names import is_terminal
from linnet_sdk.retries import USUAL, Attempts, RetryPolicy
from linnet_sdk.server_address import ServerAddress

Req = TypeVar("Req")
Res = TypeVar("Res")


class Client:
    """Speaks to a gateway; may be used from several threads.

    Every method raises the tree of `linnet_runtime.errors`. A call that finds nobody is made again
    until the policy's limit; creating a run carries a request id, so that this never makes two.

    Args:
        server: Where the gateway is.
        project: What short names are completed with.
        retry: When calls are made again.
        timeout_s: Deadline of one attempt of a unary call, in seconds.
    """

    def __init__(
        self,
        server: ServerAddress,
        *,
        project: str = "default",
        retry: RetryPolicy = USUAL,
        timeout_s: float = 60.0,
    ) -> None:
        self.make = requests.Maker(project)
        self._channel = channels.open_channel(server)
        self._stub = TrainingServiceStub(self._channel)
        self._server = server
        self._metadata = channels.call_metadata(server)
        self._http = transfers.open_http()
        self._retry = retry
        self._timeout_s = timeout_s
        self._reached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; streams under way end with `Unavailable`."""
        self._channel.close()
        self._http.close()

    def create_dataset(
        self, record: dataset_pb2.Dataset, paths: Mapping[str, Path], *, dataset_id: str = ""
    ) -> dataset_pb2.Dataset:
        """Push files as they are and give the ready dataset; the gateway looks inside them.

        Args:
            record: Kind, classes and names.
            paths: `features.npy`, `labels.npy` and, optionally, `samples.npz`.
            dataset_id: The id; made by the gateway when empty.
        """
        files = datasets.describe_files(paths)
        created = self._call(
            self._stub.CreateDataset, self.make.create_dataset(record, files, dataset_id)
        )
        for target in created.uploads:
            self._again(partial(transfers.upload, self._http, target, paths[target.name]))
        return self._call(
            self._stub.FinalizeDataset,
            training_service_pb2.FinalizeDatasetRequest(name=created.dataset.name),
        )

    def push(self, arrays: datasets.Arrays, *, dataset_id: str = "") -> dataset_pb2.Dataset:
        """Push arrays and give the ready dataset."""
        with tempfile.TemporaryDirectory(prefix="linnet-") as folder:
            paths = datasets.write_files(arrays, Path(folder))
            return self.create_dataset(arrays.record(), paths, dataset_id=dataset_id)

    def get_dataset(self, dataset: str) -> dataset_pb2.Dataset:
        """Read a dataset."""
        return self._call(self._stub.GetDataset, self.make.get_dataset(dataset))

    def list_datasets(self) -> Iterator[dataset_pb2.Dataset]:
        """List all datasets, newest first, page by page."""
        token = ""
        while True:
            page = self._call(self._stub.ListDatasets, self.make.list_datasets(token))
            yield from page.datasets
            if not (token := page.next_page_token):
                return

    def delete_dataset(self, dataset: str) -> None:
        """Delete a dataset that no live run uses."""
        self._call(self._stub.DeleteDataset, self.make.delete_dataset(dataset))

    def create_run(
        self, run: run_pb2.Run, *, run_id: str = "", request_id: str = ""
    ) -> run_pb2.Run:
        """Create a run; the same request id gives the same run."""
        request = self.make.create_run(run, run_id, request_id or str(uuid.uuid4()))
        return self._call(self._stub.CreateRun, request)

    def get_run(self, run: str) -> run_pb2.Run:
        """Read a run."""
        return self._call(self._stub.GetRun, self.make.get_run(run))

    def list_runs(self, *, filter_text: str = "") -> Iterator[run_pb2.Run]:
        """List all runs, newest first, page by page."""
        token = ""
        while True:
            page = self._call(self._stub.ListRuns, self.make.list_runs(token, filter_text))
            yield from page.runs
            if not (token := page.next_page_token):
                return

    def cancel_run(self, run: str, *, etag: str = "") -> run_pb2.Run:
        """Cancel a run that is not terminal."""
        return self._call(self._stub.CancelRun, self.make.cancel_run(run, etag))

    def delete_run(self, run: str, *, etag: str = "") -> None:
        """Delete a terminal run and its artifacts."""
        self._call(self._stub.DeleteRun, self.make.delete_run(run, etag))

    def watch(
        self, run: str, *, resume_token: str = ""
    ) -> Iterator[training_service_pb2.WatchRunResponse]:
        """Stream a run's changes and epochs until it is terminal.

        A stream that breaks is continued from its last token, so that every epoch comes once.
        """
        request = self.make.watch_run(run, resume_token)
        attempts = Attempts(self._retry, time.monotonic, reached=self._reached)
        while True:
            try:
                for response in self._stub.WatchRun(request, metadata=self._metadata):
                    attempts.succeeded()
                    self._reached = True
                    request.resume_token = response.resume_token or request.resume_token
                    yield response
                    if response.HasField("run") and is_terminal(response.run):
                        return
                ended: LinnetError = Unavailable("the stream ended before the run did")
            except grpc.RpcError as error:
                ended = self._error(error)
            time.sleep(attempts.pause_after(ended))

    def logs(
        self, run: str, *, follow: bool = False, resume_token: str = ""
    ) -> Iterator[run_pb2.LogEntry]:
        """Stream a run's output; with `follow` until the run has ended. Each entry comes once."""
        request = self.make.stream_log(run, resume_token, follow=follow)
        attempts = Attempts(self._retry, time.monotonic, reached=self._reached)
        while True:
            try:
                for response in self._stub.StreamLog(request, metadata=self._metadata):
                    attempts.succeeded()
                    self._reached = True
                    request.resume_token = response.resume_token or request.resume_token
                    yield from response.entries
                    if response.end:
                        return
                if not follow:
                    return
                ended: LinnetError = Unavailable("the stream ended before the run did")
            except grpc.RpcError as error:
                ended = self._error(error)
            time.sleep(attempts.pause_after(ended))

    def report(self, run: str) -> training_service_pb2.Report:
        """Read everything known of a run: training, evaluation, profiles."""
        return self._call(self._stub.GetReport, self.make.get_report(run))

    def artifact_request(self, run: str, artifact: str) -> dataset_pb2.PresignedRequest:
        """Give an address to read an artifact from, without credentials, until it expires."""
        return self._call(self._stub.DownloadArtifact, self.make.download_artifact(run, artifact))

    def download(self, run: str, artifact: str, path: Path) -> Path:
        """Read an artifact into a file, which appears only when all of it is there and right."""
        request = self.artifact_request(run, artifact)
        return self._again(lambda: transfers.download(self._http, request, path))

    def validate_spec(
        self, spec: spec_pb2.TrainingSpec
    ) -> training_service_pb2.ValidateSpecResponse:
        """Check a spec and say what it would make, without training."""
        return self._call(self._stub.ValidateSpec, self.make.validate_spec(spec))

    def create_batch(
        self, runs: Iterable[run_pb2.Run], *, batch_id: str = "", request_id: str = ""
    ) -> Iterator[training_service_pb2.CreateBatchResponse]:
        """Create a batch of streamed runs; yields each acknowledgement.

        A broken stream raises `Unavailable`: call again with the same `request_id` and the same
        runs, and the gateway goes on after those it has.
        """
        chunks = self.make.create_batch(iter(runs), batch_id, request_id or str(uuid.uuid4()))
        try:
            yield from self._stub.CreateBatch(chunks, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._error(error) from error

    def get_batch(self, batch: str) -> batch_pb2.Batch:
        """Read a batch."""
        return self._call(self._stub.GetBatch, self.make.get_batch(batch))

    def list_batches(self) -> Iterator[batch_pb2.Batch]:
        """List all batches, newest first, page by page."""
        token = ""
        while True:
            page = self._call(self._stub.ListBatches, self.make.list_batches(token))
            yield from page.batches
            if not (token := page.next_page_token):
                return

    def cancel_batch(self, batch: str) -> batch_pb2.Batch:
        """Cancel every run of a batch that is not terminal."""
        return self._call(self._stub.CancelBatch, self.make.cancel_batch(batch))

    def list_targets(self) -> training_service_pb2.ListTargetsResponse:
        """List the microcontrollers that models are profiled for."""
        return self._call(self._stub.ListTargets, training_service_pb2.ListTargetsRequest())

    def list_presets(
        self, input_kind: dataset_pb2.InputKind.ValueType = dataset_pb2.INPUT_KIND_UNSPECIFIED
    ) -> training_service_pb2.ListPresetsResponse:
        """List the architecture presets, all or those of one kind of input."""
        return self._call(
            self._stub.ListPresets,
            training_service_pb2.ListPresetsRequest(input_kind=input_kind),
        )

    def _call(self, method: "grpc.UnaryUnaryMultiCallable[Req, Res]", request: Req) -> Res:
        attempts = Attempts(self._retry, time.monotonic, reached=self._reached)
        while True:
            try:
                answer = method(request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                time.sleep(attempts.pause_after(self._error(error)))
            else:
                self._reached = True
                return answer

    def _again(self, action: Callable[[], Res]) -> Res:
        attempts = Attempts(self._retry, time.monotonic, reached=self._reached)
        while True:
            try:
                return action()
            except LinnetError as error:
                time.sleep(attempts.pause_after(error))

    def _error(self, error: grpc.RpcError) -> LinnetError:
        return channels.call_error(error, self._server, reached=self._reached)
