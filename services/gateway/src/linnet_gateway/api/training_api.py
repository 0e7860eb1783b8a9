"""TrainingService without a transport: requests of the contract in, its messages out.

gRPC and Connect both hand every call through to here, so that neither can differ.
"""

from collections.abc import AsyncIterator
from functools import partial

from google.protobuf import empty_pb2
from linnet.v1 import (
    batch_pb2,
    dataset_pb2,
    evaluation_pb2,
    evaluator_service_pb2,
    run_pb2,
)
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.ids import parse_name

from linnet_gateway.addresses import Addresses
from linnet_gateway.api import catalog, run_filter
from linnet_gateway.api.pagination import Pager
from linnet_gateway.batches.filling import BatchFilling
from linnet_gateway.batches.results import BatchResults
from linnet_gateway.batches.steering import BatchRequests, BatchView
from linnet_gateway.converters import batch_message, dataset_message, run_message
from linnet_gateway.datasets.lifecycle import DatasetRequests
from linnet_gateway.records import BatchCounts, FileRecord
from linnet_gateway.runs.insights import Insights
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_gateway.runs.reports import Reports
from linnet_gateway.runs.watching import Watching
from linnet_gateway.specs.preview import SpecPreview
from linnet_gateway.targets import Targets


class TrainingApi:
    """Every method of TrainingService."""

    def __init__(
        self,
        *,
        datasets: DatasetRequests,
        runs: RunRequests,
        filling: BatchFilling,
        batches: BatchRequests,
        results: BatchResults,
        watching: Watching,
        reports: Reports,
        insights: Insights,
        preview: SpecPreview,
        targets: Targets,
        pager: Pager,
        addresses: Addresses,
    ) -> None:
        self._datasets = datasets
        self._runs = runs
        self._filling = filling
        self._batches = batches
        self._results = results
        self._watching = watching
        self._reports = reports
        self._insights = insights
        self._preview = preview
        self._targets = targets
        self._pager = pager
        self._addresses = addresses

    async def create_dataset(self, request: pb.CreateDatasetRequest) -> pb.CreateDatasetResponse:
        """Create a dataset and give addresses to put its files to."""
        dataset, uploads = await self._datasets.create(
            project=parse_name(request.parent, field="parent").project,
            dataset_id=request.dataset_id,
            display_name=request.dataset.display_name,
            input_kind=int(request.dataset.input_kind),
            classes=request.dataset.classes,
            feature_names=request.dataset.feature_names,
            files=[FileRecord(f.name, "", f.size_bytes, f.sha256) for f in request.files],
            request_id=request.request_id,
        )
        return pb.CreateDatasetResponse(dataset=dataset_message(dataset), uploads=uploads)

    async def finalize_dataset(self, request: pb.FinalizeDatasetRequest) -> dataset_pb2.Dataset:
        """Validate the uploaded files and make the dataset ready."""
        name = parse_name(request.name, "datasets")
        return dataset_message(await self._datasets.finalize(name))

    async def get_dataset(self, request: pb.GetDatasetRequest) -> dataset_pb2.Dataset:
        """Read a dataset."""
        return dataset_message(await self._datasets.get(parse_name(request.name, "datasets")))

    async def download_dataset(
        self, request: pb.DownloadDatasetRequest
    ) -> pb.DownloadDatasetResponse:
        """Give addresses to read the files of a dataset from."""
        name = parse_name(request.name, "datasets")
        return pb.DownloadDatasetResponse(downloads=await self._datasets.downloads(name))

    async def list_datasets(self, request: pb.ListDatasetsRequest) -> pb.ListDatasetsResponse:
        """List datasets, newest first."""
        project = parse_name(request.parent, field="parent").project
        datasets, token = await self._pager.page(
            request.page_size,
            request.page_token,
            ("datasets", project),
            partial(self._datasets.list, project),
            dataset_message,
        )
        return pb.ListDatasetsResponse(datasets=datasets, next_page_token=token)

    async def delete_dataset(self, request: pb.DeleteDatasetRequest) -> empty_pb2.Empty:
        """Delete a dataset that no live run uses."""
        await self._datasets.delete(parse_name(request.name, "datasets"), request.etag)
        return empty_pb2.Empty()

    async def create_run(self, request: pb.CreateRunRequest) -> run_pb2.Run:
        """Create a run."""
        record = await self._runs.create(
            parse_name(request.parent, field="parent").project,
            request.run_id,
            request.run,
            request.request_id,
            validate_only=request.validate_only,
        )
        return run_message(record)

    async def get_run(self, request: pb.GetRunRequest) -> run_pb2.Run:
        """Read a run."""
        return run_message(await self._runs.get(parse_name(request.name, "runs")))

    async def list_runs(self, request: pb.ListRunsRequest) -> pb.ListRunsResponse:
        """List runs, newest first."""
        project = parse_name(request.parent, field="parent").project
        which = run_filter.parse(project, request.filter)
        runs, token = await self._pager.page(
            request.page_size,
            request.page_token,
            ("runs", project, request.filter),
            partial(self._runs.list, project, which=which),
            run_message,
        )
        return pb.ListRunsResponse(runs=runs, next_page_token=token)

    async def cancel_run(self, request: pb.CancelRunRequest) -> run_pb2.Run:
        """Cancel a run that is not terminal."""
        name = parse_name(request.name, "runs")
        return run_message(await self._runs.cancel(name, request.etag))

    async def delete_run(self, request: pb.DeleteRunRequest) -> empty_pb2.Empty:
        """Delete a terminal run and its artifacts."""
        await self._runs.delete(parse_name(request.name, "runs"), request.etag)
        return empty_pb2.Empty()

    async def watch_run(self, request: pb.WatchRunRequest) -> AsyncIterator[pb.WatchRunResponse]:
        """Stream the run at each change and each epoch, until it is terminal."""
        name = parse_name(request.name, "runs")
        async for update in self._watching.watch(name.project, name.id, request.resume_token):
            yield pb.WatchRunResponse(
                run=None if update.run is None else run_message(update.run),
                epochs=update.epochs,
                resume_token=update.token,
            )

    async def stream_log(self, request: pb.StreamLogRequest) -> AsyncIterator[pb.StreamLogResponse]:
        """Stream the run's output from the beginning or a token, until it has ended."""
        name = parse_name(request.name, "runs")
        updates = self._watching.log(
            name.project, name.id, request.resume_token, follow=request.follow
        )
        async for update in updates:
            yield pb.StreamLogResponse(
                entries=update.entries, resume_token=update.token, end=update.end
            )

    async def get_report(self, request: pb.GetReportRequest) -> pb.Report:
        """Read everything known of a run."""
        return await self._reports.report(parse_name(request.name, "runs"))

    async def get_evaluation(self, request: pb.GetEvaluationRequest) -> evaluation_pb2.Evaluation:
        """Read the evaluation of a run."""
        return await self._reports.evaluation(parse_name(request.name, "runs"))

    async def get_thresholds(
        self, request: pb.GetThresholdsRequest
    ) -> evaluation_pb2.ThresholdOutcome:
        """Apply thresholds to the stored scores of a run."""
        return await self._insights.thresholds(parse_name(request.name, "runs"), request)

    async def get_explorer(self, request: pb.GetExplorerRequest) -> pb.GetExplorerResponse:
        """Read a page of a run's feature explorer."""
        return await self._insights.explorer(parse_name(request.name, "runs"), request)

    async def compare_runs(
        self, request: pb.CompareRunsRequest
    ) -> evaluator_service_pb2.CompareScoresResponse:
        """Compare two runs on the rows that both scored."""
        return await self._insights.compare(parse_name(request.name, "runs"), request)

    async def get_profile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        """Profile the variants of a run for any targets."""
        return await self._reports.profile(parse_name(request.name, "runs"), request)

    async def download_artifact(
        self, request: pb.DownloadArtifactRequest
    ) -> dataset_pb2.PresignedRequest:
        """Give an address to read an artifact from."""
        return await self._reports.artifact(parse_name(request.name, "runs"), request.artifact)

    async def validate_spec(self, request: pb.ValidateSpecRequest) -> pb.ValidateSpecResponse:
        """Check a spec and say what it would make, without training."""
        project = parse_name(request.parent, field="parent").project
        return await self._preview.validate(project, request.spec, "spec")

    async def render_script(self, request: pb.RenderScriptRequest) -> pb.RenderScriptResponse:
        """Write the expert script that does what a layer list or preset does."""
        project = parse_name(request.parent, field="parent").project
        script = await self._preview.script(project, request.spec, "spec")
        return pb.RenderScriptResponse(script=script)

    async def export_batch(self, request: pb.ExportBatchRequest) -> dataset_pb2.PresignedRequest:
        """Give an address to read the results of a batch from."""
        file = await self._results.make(parse_name(request.name, "batches"))
        return self._addresses.download(file)

    async def create_batch(
        self, requests: AsyncIterator[pb.CreateBatchRequest]
    ) -> AsyncIterator[pb.CreateBatchResponse]:
        """Create a batch from streamed specs, each chunk acknowledged after it is durable."""
        async for batch, count in self._filling.create(requests):
            message = batch_message(batch, BatchCounts({}, {}, {}), None)
            message.run_count = count
            yield pb.CreateBatchResponse(batch=message, accepted_count=count)

    async def get_batch(self, request: pb.GetBatchRequest) -> batch_pb2.Batch:
        """Read a batch."""
        return _batch(await self._batches.get(parse_name(request.name, "batches")))

    async def list_batches(self, request: pb.ListBatchesRequest) -> pb.ListBatchesResponse:
        """List batches, newest first."""
        project = parse_name(request.parent, field="parent").project
        batches, token = await self._pager.page(
            request.page_size,
            request.page_token,
            ("batches", project),
            partial(self._batches.list, project),
            _batch,
        )
        return pb.ListBatchesResponse(batches=batches, next_page_token=token)

    async def cancel_batch(self, request: pb.CancelBatchRequest) -> batch_pb2.Batch:
        """Cancel every run of a batch that is not terminal."""
        name = parse_name(request.name, "batches")
        return _batch(await self._batches.cancel(name, request.etag))

    async def suspend_batch(self, request: pb.SuspendBatchRequest) -> batch_pb2.Batch:
        """Launch nothing more of a batch and stop what runs."""
        name = parse_name(request.name, "batches")
        return _batch(await self._batches.suspend(name, request.etag))

    async def resume_batch(self, request: pb.ResumeBatchRequest) -> batch_pb2.Batch:
        """Go on with a suspended batch."""
        name = parse_name(request.name, "batches")
        return _batch(await self._batches.resume(name, request.etag))

    async def retry_failed(self, request: pb.RetryFailedRequest) -> batch_pb2.Batch:
        """Create new runs for the failed ones that have no retry yet."""
        return _batch(await self._batches.retry_failed(parse_name(request.name, "batches")))

    async def watch_batch(
        self, request: pb.WatchBatchRequest
    ) -> AsyncIterator[pb.WatchBatchResponse]:
        """Stream the batch at each change, until every run is terminal."""
        name = parse_name(request.name, "batches")
        async for view, token in self._batches.watch(name, request.resume_token):
            yield pb.WatchBatchResponse(batch=_batch(view), resume_token=token)

    async def list_targets(self, _request: pb.ListTargetsRequest) -> pb.ListTargetsResponse:
        """List the microcontrollers that models are profiled for."""
        return pb.ListTargetsResponse(targets=await self._targets.all())

    async def list_presets(self, request: pb.ListPresetsRequest) -> pb.ListPresetsResponse:
        """List the architecture presets."""
        return pb.ListPresetsResponse(presets=catalog.list_presets(int(request.input_kind)))

    async def list_layer_types(
        self, _request: pb.ListLayerTypesRequest
    ) -> pb.ListLayerTypesResponse:
        """List the kinds of layers and what each takes."""
        return pb.ListLayerTypesResponse(types=catalog.list_layer_types())


def _batch(view: BatchView) -> batch_pb2.Batch:
    return batch_message(view.batch, view.counts, view.eta_seconds)
