"""The requests of both clients: short names completed, pages and chunks sized."""

from collections.abc import Iterator, Sequence
from math import prod

from linnet.v1 import dataset_pb2, evaluation_pb2, profile_pb2, run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as service

from linnet_sdk.batch_chunks import Item, after, chunks, digest
from linnet_sdk.names import full_name

PAGE_SIZE = 200


class Maker:
    """Makes requests of one project; pure.

    Each method raises `InvalidInput` where a name is none.
    """

    def __init__(self, project: str) -> None:
        self.parent = f"projects/{project}"
        self._project = project

    def _dataset(self, text: str) -> str:
        return full_name(self._project, "datasets", text, field="dataset")

    def _run(self, text: str) -> str:
        return full_name(self._project, "runs", text, field="run")

    def _batch(self, text: str) -> str:
        return full_name(self._project, "batches", text, field="batch")

    def create_dataset(
        self,
        record: dataset_pb2.Dataset,
        files: Sequence[dataset_pb2.StoredFile],
        dataset_id: str,
        request_id: str,
    ) -> service.CreateDatasetRequest:
        """Make the request that announces a dataset's files."""
        return service.CreateDatasetRequest(
            parent=self.parent,
            dataset_id=dataset_id,
            dataset=record,
            files=files,
            request_id=request_id,
        )

    def get_dataset(self, dataset: str) -> service.GetDatasetRequest:
        """Make the request of one dataset."""
        return service.GetDatasetRequest(name=self._dataset(dataset))

    def download_dataset(self, dataset: str) -> service.DownloadDatasetRequest:
        """Make the request of a dataset's addresses."""
        return service.DownloadDatasetRequest(name=self._dataset(dataset))

    def list_datasets(self, page_token: str) -> service.ListDatasetsRequest:
        """Make the request of a page of datasets."""
        return service.ListDatasetsRequest(
            parent=self.parent, page_size=PAGE_SIZE, page_token=page_token
        )

    def delete_dataset(self, dataset: str) -> service.DeleteDatasetRequest:
        """Make the request that deletes a dataset."""
        return service.DeleteDatasetRequest(name=self._dataset(dataset))

    def create_run(
        self, run: run_pb2.Run, run_id: str, request_id: str
    ) -> service.CreateRunRequest:
        """Make the request of a new run; the spec may name its dataset by the id alone."""
        return service.CreateRunRequest(
            parent=self.parent,
            run_id=run_id,
            run=self._completed_run(run),
            request_id=request_id,
        )

    def get_run(self, run: str) -> service.GetRunRequest:
        """Make the request of one run."""
        return service.GetRunRequest(name=self._run(run))

    def list_runs(self, page_token: str, filter_text: str) -> service.ListRunsRequest:
        """Make the request of a page of runs."""
        return service.ListRunsRequest(
            parent=self.parent, page_size=PAGE_SIZE, page_token=page_token, filter=filter_text
        )

    def cancel_run(self, run: str, etag: str) -> service.CancelRunRequest:
        """Make the request that cancels a run."""
        return service.CancelRunRequest(name=self._run(run), etag=etag)

    def delete_run(self, run: str, etag: str) -> service.DeleteRunRequest:
        """Make the request that deletes a run."""
        return service.DeleteRunRequest(name=self._run(run), etag=etag)

    def watch_run(self, run: str, resume_token: str) -> service.WatchRunRequest:
        """Make the request of a run's changes."""
        return service.WatchRunRequest(name=self._run(run), resume_token=resume_token)

    def stream_log(self, run: str, resume_token: str, *, follow: bool) -> service.StreamLogRequest:
        """Make the request of a run's output."""
        return service.StreamLogRequest(
            name=self._run(run), resume_token=resume_token, follow=follow
        )

    def get_report(self, run: str) -> service.GetReportRequest:
        """Make the request of a run's report."""
        return service.GetReportRequest(name=self._run(run))

    def download_artifact(self, run: str, artifact: str) -> service.DownloadArtifactRequest:
        """Make the request of an artifact's address."""
        return service.DownloadArtifactRequest(name=self._run(run), artifact=artifact)

    def validate_spec(self, spec: spec_pb2.TrainingSpec) -> service.ValidateSpecRequest:
        """Make the request that checks a spec."""
        return service.ValidateSpecRequest(parent=self.parent, spec=self._completed(spec))

    def batch_header(
        self,
        header: service.BatchHeader | None,
        batch_id: str,
        request_id: str,
        items: Sequence[Item],
    ) -> service.CreateBatchRequest:
        """Make the first message of a batch of items; the template may have short names."""
        first = service.CreateBatchRequest(header=header or service.BatchHeader())
        first.header.MergeFrom(
            service.BatchHeader(
                parent=self.parent,
                batch_id=batch_id,
                request_id=request_id,
                content_sha256=digest(self._completed_item(item) for item in items),
            )
        )
        if first.header.HasField("template"):
            first.header.template.CopyFrom(self._completed_run(first.header.template))
        return first

    def batch_chunks(
        self, items: Sequence[Item], first: service.CreateBatchRequest, accepted_count: int
    ) -> Iterator[service.CreateBatchRequest]:
        """Make the messages that follow the header, without the runs that the gateway has."""
        axes = [len(axis.values) for axis in first.header.grid]
        lacking = after(items, accepted_count, prod(axes) if axes else 0)
        return chunks(self._completed_item(item) for item in lacking)

    def _completed_item(self, item: Item) -> Item:
        if isinstance(item, run_pb2.Run):
            return self._completed_run(item)
        if not item.predecessor or "/" in item.predecessor:
            return item
        completed = service.RunOverride()
        completed.CopyFrom(item)
        completed.predecessor = self._run(item.predecessor)
        return completed

    def _completed_run(self, run: run_pb2.Run) -> run_pb2.Run:
        completed = run_pb2.Run()
        completed.CopyFrom(run)
        if run.HasField("spec"):
            completed.spec.CopyFrom(self._completed(run.spec))
        if run.predecessor:
            completed.predecessor = self._run(run.predecessor)
        return completed

    def get_batch(self, batch: str) -> service.GetBatchRequest:
        """Make the request of one batch."""
        return service.GetBatchRequest(name=self._batch(batch))

    def list_batches(self, page_token: str) -> service.ListBatchesRequest:
        """Make the request of a page of batches."""
        return service.ListBatchesRequest(
            parent=self.parent, page_size=PAGE_SIZE, page_token=page_token
        )

    def cancel_batch(self, batch: str) -> service.CancelBatchRequest:
        """Make the request that cancels a batch."""
        return service.CancelBatchRequest(name=self._batch(batch))

    def suspend_batch(self, batch: str) -> service.SuspendBatchRequest:
        """Make the request that suspends a batch."""
        return service.SuspendBatchRequest(name=self._batch(batch))

    def resume_batch(self, batch: str) -> service.ResumeBatchRequest:
        """Make the request that goes on with a batch."""
        return service.ResumeBatchRequest(name=self._batch(batch))

    def retry_failed(self, batch: str) -> service.RetryFailedRequest:
        """Make the request of new runs for failed ones."""
        return service.RetryFailedRequest(name=self._batch(batch))

    def export_batch(self, batch: str) -> service.ExportBatchRequest:
        """Make the request of a batch's results."""
        return service.ExportBatchRequest(name=self._batch(batch))

    def watch_batch(self, batch: str, resume_token: str) -> service.WatchBatchRequest:
        """Make the request of a batch's changes."""
        return service.WatchBatchRequest(name=self._batch(batch), resume_token=resume_token)

    def get_evaluation(self, run: str) -> service.GetEvaluationRequest:
        """Make the request of a run's evaluation."""
        return service.GetEvaluationRequest(name=self._run(run))

    def get_explorer(
        self, run: str, source: int, method: int, page_token: str
    ) -> service.GetExplorerRequest:
        """Make the request of a page of a run's feature explorer; zeros take the defaults."""
        request = service.GetExplorerRequest(name=self._run(run), page_token=page_token)
        request.source = evaluation_pb2.FeatureSource.ValueType(source)
        request.method = evaluation_pb2.ProjectionMethod.ValueType(method)
        return request

    def get_thresholds(
        self,
        run: str,
        thresholds: Sequence[float],
        variant: run_pb2.Variant.ValueType,
        side: evaluation_pb2.SplitSide.ValueType,
    ) -> service.GetThresholdsRequest:
        """Make the request that applies thresholds to a run's scores."""
        return service.GetThresholdsRequest(
            name=self._run(run), thresholds=thresholds, variant=variant, side=side
        )

    def compare_runs(
        self,
        run: str,
        other: str,
        variant: run_pb2.Variant.ValueType,
        side: evaluation_pb2.SplitSide.ValueType,
    ) -> service.CompareRunsRequest:
        """Make the request that compares two runs."""
        return service.CompareRunsRequest(
            name=self._run(run),
            other=self._run(other),
            variant=variant,
            other_variant=variant,
            side=side,
        )

    def get_profile(
        self,
        run: str,
        targets: Sequence[str],
        custom_targets: Sequence[profile_pb2.CustomTarget],
        *,
        kernels: str,
        clock_hz: int,
        check_interpreter: bool,
    ) -> service.GetProfileRequest:
        """Make the request of a run's profiles."""
        return service.GetProfileRequest(
            name=self._run(run),
            targets=targets,
            kernels=kernels,
            clock_hz=clock_hz,
            custom_targets=custom_targets,
            check_interpreter=check_interpreter,
        )

    def render_script(self, spec: spec_pb2.TrainingSpec) -> service.RenderScriptRequest:
        """Make the request of a spec's script."""
        return service.RenderScriptRequest(parent=self.parent, spec=self._completed(spec))

    def _completed(self, spec: spec_pb2.TrainingSpec) -> spec_pb2.TrainingSpec:
        completed = spec_pb2.TrainingSpec()
        completed.CopyFrom(spec)
        if completed.dataset:
            completed.dataset = self._dataset(completed.dataset)
        if completed.init_from:
            completed.init_from = self._run(completed.init_from)
        return completed
