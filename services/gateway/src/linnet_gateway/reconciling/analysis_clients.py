"""Evaluator and profiler over gRPC."""

import json
import ssl
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
from linnet.v1 import (
    dataset_pb2,
    evaluation_pb2,
    evaluator_service_pb2,
    evaluator_service_pb2_grpc,
    profile_pb2,
    profiler_service_pb2,
    profiler_service_pb2_grpc,
    spec_pb2,
)
from linnet_runtime.errors import InvalidInput, Unauthenticated, Unavailable
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES
from linnet_runtime.rpc.status import from_rpc_error

from linnet_gateway.converters import file_message
from linnet_gateway.reconciling.analysis import MODEL_FILES
from linnet_gateway.records import DatasetRecord, FileRecord, RunRecord

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]
_LIST_TIMEOUT_S = 10.0
_SCHEMES = {"dns", "ipv4", "ipv6", "unix", "unix-abstract"}
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A service that comes back is found again within a second.
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name may stand for many pods: each gets its share of calls, and new ones are soon known.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


def credentials_from(authorities: Path | None) -> grpc.ChannelCredentials | None:
    """Make the credentials of channels to services of Linnet's own; None for plain text.

    Args:
        authorities: File of those that sign the services' certificates, PEM.

    Raises:
        InvalidInput: The file can't be used.
    """
    if authorities is None:
        return None
    try:
        # gRPC itself takes whatever it is given, and fails at each call.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(authorities)
        return grpc.ssl_channel_credentials(authorities.read_bytes())
    except OSError as error:
        raise InvalidInput.of(
            "LINNET_GATEWAY_SERVICE_CA_FILE",
            f"expected PEM certificates of authorities in {authorities}: {error}",
        ) from error


def open_channel(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """Open a channel to a service of Linnet's own.

    Calls go to all that the address stands for in turn. The services close connections after a
    while, and then the name is looked up again: that is how further pods are found.

    Args:
        address: `host:port`, or a target of gRPC with its scheme.
        credentials: Whose certificates are trusted; None speaks plain text.
    """
    target = address if address.partition(":")[0] in _SCHEMES else f"dns:///{address}"
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.RpcError as error:
        found = from_rpc_error(error)
        if isinstance(found, Unauthenticated):
            # While a token is replaced one side has it first: no run is to blame for that.
            raise Unavailable(
                f"the service wants another token than SERVICE_TOKEN: {found.message}",
                reason="SERVICE_TOKEN_REFUSED",
            ) from error
        raise found from error


class EvaluatorClient:
    """The evaluator."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata = ()) -> None:
        """Make one; `metadata` goes with every call."""
        self._metadata = metadata
        self._stub = evaluator_service_pb2_grpc.EvaluatorServiceStub(channel)

    async def evaluate(
        self, run: RunRecord, dataset: DatasetRecord, timeout_s: float
    ) -> tuple[evaluation_pb2.Evaluation, Sequence[FileRecord]]:
        """Score every variant."""
        request = evaluator_service_pb2.EvaluateRequest(
            run=run.name,
            run_files=[file_message(file) for file in run.artifacts],
            dataset_files=[file_message(file) for file in dataset.files],
            classes=dataset.classes,
            dataset_digest=dataset.digest,
            result_key=f"{run.prefix}/evaluation.json",
            scores_key=f"{run.prefix}/scores.npz",
        )
        response = await _answer(
            self._stub.Evaluate(request, timeout=timeout_s, metadata=self._metadata)
        )
        stored = [
            _record(getattr(response, field))
            for field in ("result", "scores")
            if response.HasField(field)
        ]
        return response.evaluation, stored

    async def apply_thresholds(
        self, request: evaluator_service_pb2.ApplyThresholdsRequest, timeout_s: float
    ) -> evaluator_service_pb2.ApplyThresholdsResponse:
        """Apply thresholds to stored scores."""
        return await _answer(
            self._stub.ApplyThresholds(request, timeout=timeout_s, metadata=self._metadata)
        )

    async def explore(
        self, request: evaluator_service_pb2.ExploreRequest, timeout_s: float
    ) -> evaluator_service_pb2.ExploreResponse:
        """Read a page of the feature explorer."""
        return await _answer(
            self._stub.Explore(request, timeout=timeout_s, metadata=self._metadata)
        )

    async def compare_scores(
        self, request: evaluator_service_pb2.CompareScoresRequest, timeout_s: float
    ) -> evaluator_service_pb2.CompareScoresResponse:
        """Compare stored scores of two runs."""
        return await _answer(
            self._stub.CompareScores(request, timeout=timeout_s, metadata=self._metadata)
        )


class ProfilerClient:
    """The profiler."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata = ()) -> None:
        """Make one; `metadata` goes with every call."""
        self._metadata = metadata
        self._stub = profiler_service_pb2_grpc.ProfilerServiceStub(channel)

    async def profile(
        self, run: RunRecord, spec: spec_pb2.TrainingSpec, timeout_s: float
    ) -> tuple[Sequence[profile_pb2.Profile], Sequence[FileRecord]]:
        """Profile every variant on the spec's target."""
        request = profiler_service_pb2.ProfileRequest(
            run=run.name,
            models=models_of(run),
            targets=[spec.target],
            budgets=spec.budgets,
            result_key=f"{run.prefix}/profile.json",
        )
        response = await self.ask(request, timeout_s)
        stored = [_record(response.result)] if response.HasField("result") else []
        return response.profiles, stored

    async def ask(
        self, request: profiler_service_pb2.ProfileRequest, timeout_s: float
    ) -> profiler_service_pb2.ProfileResponse:
        """Profile anything."""
        return await _answer(
            self._stub.Profile(request, timeout=timeout_s, metadata=self._metadata)
        )

    async def estimate(
        self, request: profiler_service_pb2.EstimateRequest, timeout_s: float
    ) -> profiler_service_pb2.EstimateResponse:
        """Profile what a layer list will be exported to."""
        return await _answer(
            self._stub.Estimate(request, timeout=timeout_s, metadata=self._metadata)
        )

    async def list_targets(self) -> Sequence[profile_pb2.Target]:
        """List the targets, ordered by id."""
        request = profiler_service_pb2.ProfilerServiceListTargetsRequest()
        return (
            await _answer(
                self._stub.ListTargets(request, timeout=_LIST_TIMEOUT_S, metadata=self._metadata)
            )
        ).targets


def models_of(run: RunRecord) -> list[profiler_service_pb2.ProfiledModel]:
    """Give the exported models of a run."""
    return [
        profiler_service_pb2.ProfiledModel(variant=MODEL_FILES[file.name], file=file_message(file))
        for file in run.artifacts
        if file.name in MODEL_FILES
    ]


def _record(file: dataset_pb2.StoredFile) -> FileRecord:
    return FileRecord(file.name, file.key, file.size_bytes, file.sha256)
