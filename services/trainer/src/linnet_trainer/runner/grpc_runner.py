"""RunnerService over gRPC."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
from linnet.v1 import dataset_pb2, runner_service_pb2, runner_service_pb2_grpc
from linnet_runtime.errors import DeadlineExceeded, Unavailable
from linnet_runtime.rpc.status import from_rpc_error
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

T = TypeVar("T")

_OPTIONS = [
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway is and how long a trainer waits for it.

    Attributes:
        address: `host:port` of RunnerService.
        launch_token: What AcquireAssignment asks for.
        certificate_file: Certificates to trust; None speaks without TLS.
        call_timeout_s: Deadline of one call.
        patience_s: How long calls are tried again while the gateway is away.
        version: Version of the trainer.
        trainer: Name of this process, told from that of the one before it.
    """

    address: str
    launch_token: str
    certificate_file: Path | None = None
    call_timeout_s: float = 30.0
    patience_s: float = 900.0
    version: str = ""
    trainer: str = ""


class GrpcRunner:
    """RunnerService over one channel; a call is tried again while the gateway is away."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        if gateway.certificate_file is None:
            self._channel = grpc.insecure_channel(gateway.address, options=_OPTIONS)
        else:
            trusted = grpc.ssl_channel_credentials(gateway.certificate_file.read_bytes())
            self._channel = grpc.secure_channel(gateway.address, trusted, options=_OPTIONS)
        self._stub = runner_service_pb2_grpc.RunnerServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def acquire(self, shard: int) -> runner_service_pb2.Assignment | None:
        """Get the next run of a shard; None when it has none left."""
        request = runner_service_pb2.AcquireAssignmentRequest(
            shard=shard, trainer_version=self._gateway.version, trainer=self._gateway.trainer
        )
        response = self._persistently(
            lambda: self._stub.AcquireAssignment(
                request,
                metadata=_bearer(self._gateway.launch_token),
                timeout=self._gateway.call_timeout_s,
            )
        )
        return response.assignment if response.HasField("assignment") else None

    def report(
        self, run_token: str, requests: Iterator[runner_service_pb2.ReportRequest]
    ) -> Iterator[runner_service_pb2.ReportResponse]:
        """Stream reports of a run and get acknowledgements; not tried again here."""
        try:
            yield from self._stub.Report(requests, metadata=_bearer(run_token))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def create_uploads(
        self, run_token: str, files: Sequence[dataset_pb2.StoredFile]
    ) -> Sequence[dataset_pb2.PresignedRequest]:
        """Get one address a file to put it to."""
        request = runner_service_pb2.CreateUploadsRequest(files=files)
        response = self._persistently(
            lambda: self._stub.CreateUploads(
                request, metadata=_bearer(run_token), timeout=self._gateway.call_timeout_s
            )
        )
        return response.uploads

    def finish(self, run_token: str, request: runner_service_pb2.FinishRunRequest) -> None:
        """End the attempt."""
        self._persistently(
            lambda: self._stub.FinishRun(
                request, metadata=_bearer(run_token), timeout=self._gateway.call_timeout_s
            )
        )

    def _persistently(self, call: Callable[[], T]) -> T:
        def once() -> T:
            try:
                return call()
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if isinstance(failure, DeadlineExceeded):
                    # A gateway that vanished with its address closes no connection.
                    failure = Unavailable("the gateway did not answer in time")
                raise failure from error

        return Retrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_delay(self._gateway.patience_s),
            wait=wait_random_exponential(multiplier=0.2, max=10.0),
            reraise=True,
        )(once)


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
