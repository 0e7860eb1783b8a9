"""ProfilerService: converts nothing but the list of targets, and calls the use cases."""

from typing import Any

from linnet.v1 import profiler_service_pb2, profiler_service_pb2_grpc

from linnet_profiler.serving.messages import target_message
from linnet_profiler.serving.use_cases import Profiling
from linnet_profiler.targets import targets


class ProfilerServicer(profiler_service_pb2_grpc.ProfilerServiceServicer):
    """ProfilerService over gRPC."""

    def __init__(self, profiling: Profiling) -> None:
        self._profiling = profiling

    async def Profile(  # noqa: N802 - the contract's name
        self, request: profiler_service_pb2.ProfileRequest, context: Any
    ) -> profiler_service_pb2.ProfileResponse:
        """Profile model files for targets."""
        del context
        return await self._profiling.profile(request)

    async def Estimate(  # noqa: N802 - the contract's name
        self, request: profiler_service_pb2.EstimateRequest, context: Any
    ) -> profiler_service_pb2.EstimateResponse:
        """Profile what a layer list will be exported to."""
        del context
        return await self._profiling.estimate(request)

    async def ListTargets(  # noqa: N802 - the contract's name
        self, request: profiler_service_pb2.ProfilerServiceListTargetsRequest, context: Any
    ) -> profiler_service_pb2.ProfilerServiceListTargetsResponse:
        """List every target, ordered by id."""
        del request, context
        ordered = sorted(targets().values(), key=lambda target: target.id)
        return profiler_service_pb2.ProfilerServiceListTargetsResponse(
            targets=[target_message(target) for target in ordered]
        )
