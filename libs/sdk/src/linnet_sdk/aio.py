"""The asyncio client: the blocking one's twin, method for method."""

import asyncio
import operator
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from linnet.v1 import (
    dataset_pb2,
    evaluation_pb2,
    evaluator_service_pb2,
    profile_pb2,
    run_pb2,
    spec_pb2,
    training_service_pb2,
)
from linnet.v1.training_service_pb2_grpc import TrainingServiceStub

from linnet_sdk import dataset_files, requests
from linnet_sdk.aio_batches import AsyncBatches
from linnet_sdk.aio_calls import AsyncCalls
from linnet_sdk.names import tells_end_of_run
from linnet_sdk.retries import USUAL, RetryPolicy
from linnet_sdk.server_address import ServerAddress
from linnet_sdk.transfers import Transfers

if TYPE_CHECKING:
    from linnet_sdk.datasets import Arrays


class AsyncClient:
    """Speaks to a gateway from one event loop; each method is documented at `Client`.

    Files are read, written and transferred in threads.
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
        self.calls = AsyncCalls(server, retry, timeout_s)
        self.stub = TrainingServiceStub(self.calls.channel)
        self.batches = AsyncBatches(self.calls, self.stub, self.make)
        self._transfers = Transfers(server.ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.calls.close()
        self._transfers.close()

    async def create_dataset(
        self, record: dataset_pb2.Dataset, paths: Mapping[str, Path], *, dataset_id: str = ""
    ) -> dataset_pb2.Dataset:
        """Push files as they are and give the ready dataset; the gateway looks inside them."""
        files = await asyncio.to_thread(dataset_files.describe_files, paths)
        created = await self.calls.unary(
            self.stub.CreateDataset,
            self.make.create_dataset(record, files, dataset_id, str(uuid.uuid4())),
        )
        for target in created.uploads:
            await self.calls.again(partial(self._transfers.upload, target, paths[target.name]))
        return await self.calls.unary(
            self.stub.FinalizeDataset,
            training_service_pb2.FinalizeDatasetRequest(name=created.dataset.name),
        )

    async def push(self, arrays: "Arrays", *, dataset_id: str = "") -> dataset_pb2.Dataset:
        """Push arrays and give the ready dataset."""
        from linnet_sdk.datasets import write_files

        with tempfile.TemporaryDirectory(prefix="linnet-") as folder:
            paths = await asyncio.to_thread(write_files, arrays, Path(folder))
            return await self.create_dataset(arrays.record(), paths, dataset_id=dataset_id)

    async def get_dataset(self, dataset: str) -> dataset_pb2.Dataset:
        """Read a dataset."""
        return await self.calls.unary(self.stub.GetDataset, self.make.get_dataset(dataset))

    async def list_datasets(self) -> AsyncIterator[dataset_pb2.Dataset]:
        """List all datasets, newest first, page by page."""
        token = ""
        while True:
            page = await self.calls.unary(self.stub.ListDatasets, self.make.list_datasets(token))
            for item in page.datasets:
                yield item
            if not (token := page.next_page_token):
                return

    async def download_dataset(self, dataset: str, folder: Path) -> dict[str, Path]:
        """Read the files of a dataset into a folder and give their paths by name."""
        request = self.make.download_dataset(dataset)
        addresses = (await self.calls.unary(self.stub.DownloadDataset, request)).downloads
        paths = dataset_files.places(folder, addresses)
        for address in addresses:
            await self.calls.again(partial(self._transfers.download, address, paths[address.name]))
        return paths

    async def delete_dataset(self, dataset: str) -> None:
        """Delete a dataset that no live run uses."""
        await self.calls.unary(self.stub.DeleteDataset, self.make.delete_dataset(dataset))

    async def create_run(
        self, run: run_pb2.Run, *, run_id: str = "", request_id: str = ""
    ) -> run_pb2.Run:
        """Create a run; the same request id gives the same run."""
        request = self.make.create_run(run, run_id, request_id or str(uuid.uuid4()))
        return await self.calls.unary(self.stub.CreateRun, request)

    async def get_run(self, run: str) -> run_pb2.Run:
        """Read a run."""
        return await self.calls.unary(self.stub.GetRun, self.make.get_run(run))

    async def list_runs(self, *, filter_text: str = "") -> AsyncIterator[run_pb2.Run]:
        """List all runs, newest first, page by page."""
        token = ""
        while True:
            page = await self.calls.unary(
                self.stub.ListRuns, self.make.list_runs(token, filter_text)
            )
            for item in page.runs:
                yield item
            if not (token := page.next_page_token):
                return

    async def cancel_run(self, run: str, *, etag: str = "") -> run_pb2.Run:
        """Cancel a run that is not terminal."""
        return await self.calls.unary(self.stub.CancelRun, self.make.cancel_run(run, etag))

    async def delete_run(self, run: str, *, etag: str = "") -> None:
        """Delete a terminal run and its artifacts."""
        await self.calls.unary(self.stub.DeleteRun, self.make.delete_run(run, etag))

    async def watch(
        self, run: str, *, resume_token: str = ""
    ) -> AsyncIterator[training_service_pb2.WatchRunResponse]:
        """Stream a run's changes and epochs until it is terminal."""
        request = self.make.watch_run(run, resume_token)
        async for response in self.calls.stream(
            self.stub.WatchRun, request, is_last=tells_end_of_run
        ):
            yield response

    async def logs(
        self, run: str, *, follow: bool = False, resume_token: str = ""
    ) -> AsyncIterator[run_pb2.LogEntry]:
        """Stream a run's output; with `follow` until the run has ended."""
        request = self.make.stream_log(run, resume_token, follow=follow)
        async for response in self.calls.stream(
            self.stub.StreamLog, request, is_last=operator.attrgetter("end"), may_end=not follow
        ):
            for entry in response.entries:
                yield entry

    async def report(self, run: str) -> training_service_pb2.Report:
        """Read everything known of a run: training, evaluation, profiles."""
        return await self.calls.unary(self.stub.GetReport, self.make.get_report(run))

    async def artifact_request(self, run: str, artifact: str) -> dataset_pb2.PresignedRequest:
        """Give an address to read an artifact from, without credentials, until it expires."""
        return await self.calls.unary(
            self.stub.DownloadArtifact, self.make.download_artifact(run, artifact)
        )

    async def download(self, run: str, artifact: str, path: Path) -> Path:
        """Read an artifact into a file, which appears only when all of it is there and right."""
        request = await self.artifact_request(run, artifact)
        return await self.calls.again(lambda: self._transfers.download(request, path))

    async def validate_spec(
        self, spec: spec_pb2.TrainingSpec
    ) -> training_service_pb2.ValidateSpecResponse:
        """Check a spec and say what it would make, without training."""
        return await self.calls.unary(self.stub.ValidateSpec, self.make.validate_spec(spec))

    async def list_targets(self) -> training_service_pb2.ListTargetsResponse:
        """List the microcontrollers that models are profiled for."""
        return await self.calls.unary(
            self.stub.ListTargets, training_service_pb2.ListTargetsRequest()
        )

    async def list_presets(
        self, input_kind: dataset_pb2.InputKind.ValueType = dataset_pb2.INPUT_KIND_UNSPECIFIED
    ) -> training_service_pb2.ListPresetsResponse:
        """List the architecture presets, all or those of one kind of input."""
        return await self.calls.unary(
            self.stub.ListPresets,
            training_service_pb2.ListPresetsRequest(input_kind=input_kind),
        )

    async def evaluation(self, run: str) -> evaluation_pb2.Evaluation:
        """Read the evaluation of a run."""
        return await self.calls.unary(self.stub.GetEvaluation, self.make.get_evaluation(run))

    async def explorer(
        self, run: str, *, source: int = 0, method: int = 0, page_token: str = ""
    ) -> training_service_pb2.GetExplorerResponse:
        """Read a page of a run's feature explorer, computed when it is first asked for.

        Args:
            run: The run's id or full name.
            source: What is projected, a FeatureSource; 0 means the input features.
            method: How, a ProjectionMethod; 0 means UMAP.
            page_token: From the page before.
        """
        request = self.make.get_explorer(run, source, method, page_token)
        return await self.calls.unary(self.stub.GetExplorer, request)

    async def thresholds(
        self,
        run: str,
        thresholds: Sequence[float],
        *,
        variant: run_pb2.Variant.ValueType = run_pb2.VARIANT_INT8,
        side: evaluation_pb2.SplitSide.ValueType = evaluation_pb2.SPLIT_SIDE_VALIDATION,
    ) -> evaluation_pb2.ThresholdOutcome:
        """Apply thresholds to the stored scores of a run."""
        request = self.make.get_thresholds(run, thresholds, variant, side)
        return await self.calls.unary(self.stub.GetThresholds, request)

    async def compare(
        self,
        run: str,
        other: str,
        *,
        variant: run_pb2.Variant.ValueType = run_pb2.VARIANT_FLOAT32,
        side: evaluation_pb2.SplitSide.ValueType = evaluation_pb2.SPLIT_SIDE_VALIDATION,
    ) -> evaluator_service_pb2.CompareScoresResponse:
        """Compare two runs on the rows that both scored, with an exact test of the difference."""
        request = self.make.compare_runs(run, other, variant, side)
        return await self.calls.unary(self.stub.CompareRuns, request)

    async def download_results(self, batch: str, path: Path) -> Path:
        """Read the results of a batch into a Parquet file, a row a run."""
        request = await self.batches.export(batch)
        return await self.calls.again(lambda: self._transfers.download(request, path))

    async def profiles(
        self,
        run: str,
        targets: Sequence[str] = (),
        custom_targets: Sequence[profile_pb2.CustomTarget] = (),
        *,
        kernels: str = "",
        clock_hz: int = 0,
        check_interpreter: bool = False,
    ) -> training_service_pb2.GetProfileResponse:
        """Profile the variants of a run for any targets; none named means all."""
        request = self.make.get_profile(
            run,
            targets,
            custom_targets,
            kernels=kernels,
            clock_hz=clock_hz,
            check_interpreter=check_interpreter,
        )
        return await self.calls.unary(self.stub.GetProfile, request)

    async def list_layer_types(self) -> training_service_pb2.ListLayerTypesResponse:
        """List the kinds of layers and what each takes."""
        request = training_service_pb2.ListLayerTypesRequest()
        return await self.calls.unary(self.stub.ListLayerTypes, request)

    async def render_script(
        self, spec: spec_pb2.TrainingSpec
    ) -> training_service_pb2.RenderScriptResponse:
        """Write the expert script that does what a layer list or preset does."""
        return await self.calls.unary(self.stub.RenderScript, self.make.render_script(spec))
