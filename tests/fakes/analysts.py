"""An evaluator and a profiler that answer at once, over real gRPC."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import json_format
from grpc_status import rpc_status
from linnet.v1 import (
    dataset_pb2,
    evaluation_pb2,
    evaluator_service_pb2,
    evaluator_service_pb2_grpc,
    profile_pb2,
    profiler_service_pb2,
    profiler_service_pb2_grpc,
    run_pb2,
)
from linnet_runtime.errors import Internal, InvalidInput, LinnetError
from linnet_runtime.objectstore import ObjectStore
from linnet_runtime.rpc.admission import authorization_of
from linnet_runtime.rpc.status import to_status

TARGETS = [
    profile_pb2.Target(id="cortex-m4f-80mhz", ram_bytes=128 * 1024, flash_bytes=1024 * 1024),
    profile_pb2.Target(id="cortex-m7-216mhz", ram_bytes=512 * 1024, flash_bytes=2048 * 1024),
]


class FakeAnalysts(
    evaluator_service_pb2_grpc.EvaluatorServiceServicer,
    profiler_service_pb2_grpc.ProfilerServiceServicer,
):
    """Scores every variant with `accuracy`; `failures` holds errors to raise first, in order.

    `shown` gets what callers say of themselves.
    """

    def __init__(self, store: ObjectStore | None = None, shown: list[str] | None = None) -> None:
        self._store = store
        self._shown = [] if shown is None else shown
        self.failures: list[LinnetError] = []
        self.accuracy = 0.9
        self.p_value: float | None = 0.5
        self.evaluated: list[str] = []
        self.profiled: list[str] = []

    async def _fail(self, context: Any) -> None:
        self._shown.append(authorization_of(context.invocation_metadata()))
        if self.failures:
            status = rpc_status.to_status(to_status(self.failures.pop(0)))
            await context.abort(status.code, status.details, status.trailing_metadata)

    def _keep(self, key: str, message: Any) -> dataset_pb2.StoredFile | None:
        if self._store is None or not key:
            return None
        data = json_format.MessageToJson(message, preserving_proto_field_name=True).encode()
        self._store.put(key, data)
        return dataset_pb2.StoredFile(
            name=key.rsplit("/", 1)[-1],
            key=key,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    async def Evaluate(  # noqa: N802 - named by the contract
        self, request: evaluator_service_pb2.EvaluateRequest, context: Any
    ) -> evaluator_service_pb2.EvaluateResponse:
        await self._fail(context)
        self.evaluated.append(request.run)
        evaluation = evaluation_pb2.Evaluation(classes=request.classes)
        for variant in (run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8):
            for side in (evaluation_pb2.SPLIT_SIDE_VALIDATION, evaluation_pb2.SPLIT_SIDE_TEST):
                scored = evaluation.sets.add(variant=variant, side=side, sample_count=10)
                scored.scores.accuracy = self.accuracy
                scored.scores.loss = 0.3
        return evaluator_service_pb2.EvaluateResponse(
            evaluation=evaluation,
            result=self._keep(request.result_key, evaluation),
            scores=self._keep(request.scores_key, evaluation),
        )

    async def CompareScores(  # noqa: N802 - named by the contract
        self, _request: evaluator_service_pb2.CompareScoresRequest, context: Any
    ) -> evaluator_service_pb2.CompareScoresResponse:
        await self._fail(context)
        if self.p_value is None:
            self.failures.append(InvalidInput.of("second", "expected scores of the same dataset"))
            await self._fail(context)
        assert self.p_value is not None
        return evaluator_service_pb2.CompareScoresResponse(sample_count=10, p_value=self.p_value)

    async def ApplyThresholds(  # noqa: N802 - named by the contract
        self, _request: evaluator_service_pb2.ApplyThresholdsRequest, context: Any
    ) -> evaluator_service_pb2.ApplyThresholdsResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this stand-in only scores")
        raise AssertionError

    async def Explore(  # noqa: N802 - named by the contract
        self, _request: evaluator_service_pb2.ExploreRequest, context: Any
    ) -> evaluator_service_pb2.ExploreResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this stand-in only scores")
        raise AssertionError

    async def Profile(  # noqa: N802 - named by the contract
        self, request: profiler_service_pb2.ProfileRequest, context: Any
    ) -> profiler_service_pb2.ProfileResponse:
        await self._fail(context)
        self.profiled.append(request.run)
        response = profiler_service_pb2.ProfileResponse(smallest_target=TARGETS[0].id)
        for model in request.models:
            named = [*request.targets, *(custom.name for custom in request.custom_targets)]
            if request.check_interpreter:
                response.checks.add(variant=model.variant, available=True, agrees=True)
            for target in named or [t.id for t in TARGETS]:
                profile = response.profiles.add(target=target, variant=model.variant)
                profile.ram.total_bytes = 10_000
                profile.flash.total_bytes = 20_000
                profile.latency.milliseconds = 1.5
                profile.verdict.fits = True
        stored = self._keep(request.result_key, response)
        if stored is not None:
            response.result.CopyFrom(stored)
        return response

    async def Estimate(  # noqa: N802 - named by the contract
        self, request: profiler_service_pb2.EstimateRequest, context: Any
    ) -> profiler_service_pb2.EstimateResponse:
        await self._fail(context)
        response = profiler_service_pb2.EstimateResponse(smallest_target=TARGETS[0].id)
        for variant in (run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8):
            for target in request.targets:
                profile = response.profiles.add(target=target, variant=variant)
                profile.ram.total_bytes = 1000 * len(request.layers.layers)
                profile.flash.total_bytes = 20_000
                profile.latency.milliseconds = 1.5
                profile.verdict.fits = variant == run_pb2.VARIANT_INT8
                if not profile.verdict.fits:
                    profile.verdict.reasons.append("RAM: needs more than it has.")
        return response

    async def ListTargets(  # noqa: N802 - named by the contract
        self,
        _request: profiler_service_pb2.ProfilerServiceListTargetsRequest,
        _context: Any,
    ) -> profiler_service_pb2.ProfilerServiceListTargetsResponse:
        return profiler_service_pb2.ProfilerServiceListTargetsResponse(targets=TARGETS)


@asynccontextmanager
async def serving(
    analysts: FakeAnalysts, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve both services on one port and give its address; without credentials in plain text."""
    server = grpc.aio.server()
    evaluator_service_pb2_grpc.add_EvaluatorServiceServicer_to_server(analysts, server)
    profiler_service_pb2_grpc.add_ProfilerServiceServicer_to_server(analysts, server)
    port = (
        server.add_insecure_port("127.0.0.1:0")
        if credentials is None
        else server.add_secure_port("127.0.0.1:0", credentials)
    )
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def broken() -> Internal:
    """Make an error that is not tried again."""
    return Internal("the model is broken")
