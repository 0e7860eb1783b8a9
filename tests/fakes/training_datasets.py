# ruff: noqa: N802 - methods are named as the contract names them
"""The datasets of a TrainingService in memory; their files are in a real store."""

from datetime import timedelta

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_status import rpc_status
from linnet.v1 import dataset_pb2, training_service_pb2, training_service_pb2_grpc
from linnet_runtime.errors import InvalidInput, LinnetError, NotFound, Unauthenticated, Unavailable
from linnet_runtime.ids import new_id
from linnet_runtime.objectstore import ObjectStore
from linnet_runtime.rpc.status import to_status

Q = training_service_pb2
LIFE = timedelta(minutes=5)
"""Of the addresses that are given out."""


class FakeDatasets(training_service_pb2_grpc.TrainingServiceServicer):
    """Keeps records in memory and gives addresses of a real store.

    Args:
        store: Where files are put; None for tests that push nothing.
        token: What callers must present; empty lets everybody in.
    """

    def __init__(self, store: ObjectStore | None, *, token: str) -> None:
        self.datasets: dict[str, dataset_pb2.Dataset] = {}
        self.refuse = 0
        self.calls = 0
        self._store = store
        self._token = token
        self.renewals: list[str] = []

    def _enter(self, context: grpc.ServicerContext) -> None:
        self.calls += 1
        metadata = dict(context.invocation_metadata())
        if self._token and metadata.get("authorization") != f"Bearer {self._token}":
            self._fail(context, Unauthenticated("expected a token, received none or a wrong one"))
        if self.refuse > 0:
            self.refuse -= 1
            self._fail(context, Unavailable("asked to refuse"))

    def _fail(self, context: grpc.ServicerContext, error: LinnetError) -> None:
        context.abort_with_status(rpc_status.to_status(to_status(error)))

    def CreateDataset(self, request, context):
        self._enter(context)
        if len(request.dataset.classes) < 2:
            self._fail(
                context,
                InvalidInput.of("dataset.classes", "expected at least 2 names, received 1"),
            )
        name = f"{request.parent}/datasets/{request.dataset_id or new_id('data')}"
        dataset = dataset_pb2.Dataset()
        dataset.CopyFrom(request.dataset)
        dataset.name = name
        dataset.files.extend(request.files)
        self.datasets[name] = dataset
        uploads = [
            dataset_pb2.PresignedRequest(
                name=f.name,
                method="PUT",
                url=self._store.presign("PUT", f"{name}/{f.name}", LIFE),
            )
            for f in request.files
        ]
        return Q.CreateDatasetResponse(dataset=dataset, uploads=uploads)

    def FinalizeDataset(self, request, context):
        self._enter(context)
        dataset = self.datasets[request.name]
        for file in dataset.files:
            size = self._store.stat(f"{request.name}/{file.name}").size_bytes
            if size != file.size_bytes:
                wrong = f"expected {file.size_bytes} bytes, received {size}"
                self._fail(context, InvalidInput.of(file.name, wrong))
        dataset.state = dataset_pb2.DATASET_STATE_READY
        return dataset

    def GetDataset(self, request, context):
        self._enter(context)
        if request.name not in self.datasets:
            self._fail(context, NotFound("dataset", request.name))
        return self.datasets[request.name]

    def ListDatasets(self, request, context):
        self._enter(context)
        names = sorted(self.datasets, reverse=True)
        begin = int(request.page_token or 0)
        page = names[begin : begin + 2]  # small pages, so that clients must ask on
        more = str(begin + 2) if begin + 2 < len(names) else ""
        return Q.ListDatasetsResponse(
            datasets=[self.datasets[name] for name in page], next_page_token=more
        )

    def DownloadDataset(self, request, context):
        self._enter(context)
        return Q.DownloadDatasetResponse(
            downloads=[
                dataset_pb2.PresignedRequest(
                    name=f.name,
                    method="GET",
                    url=self._store.presign("GET", f"{request.name}/{f.name}", LIFE),
                    size_bytes=f.size_bytes,
                    sha256=f.sha256,
                )
                for f in self.datasets[request.name].files
            ]
        )

    def DeleteDataset(self, request, context):
        self._enter(context)
        self.datasets.pop(request.name, None)
        return Empty()
