"""What a trainer needs of the gateway."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from linnet.v1 import dataset_pb2, runner_service_pb2


class Runner(Protocol):
    """The gateway's RunnerService; methods block and may be called from any thread.

    Every method raises `Unavailable` when the gateway can't be reached, `Unauthenticated` or
    `PermissionDenied` when a token is refused.
    """

    def acquire(self, shard: int) -> runner_service_pb2.Assignment | None:
        """Get the next run of a shard; None when it has none left."""
        ...

    def report(
        self, run_token: str, requests: Iterator[runner_service_pb2.ReportRequest]
    ) -> Iterator[runner_service_pb2.ReportResponse]:
        """Stream reports of a run and get acknowledgements; ends when `requests` ends."""
        ...

    def create_uploads(
        self, run_token: str, files: Sequence[dataset_pb2.StoredFile]
    ) -> Sequence[dataset_pb2.PresignedRequest]:
        """Get one address a file to put it to."""
        ...

    def finish(self, run_token: str, request: runner_service_pb2.FinishRunRequest) -> None:
        """End the attempt."""
        ...
