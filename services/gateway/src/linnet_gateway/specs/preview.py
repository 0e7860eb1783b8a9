"""What a spec would make, before any training: layers, parameters, and estimates for its target."""

from collections.abc import Iterator
from typing import Protocol

from linnet.v1 import profile_pb2, profiler_service_pb2, run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_ml import wire
from linnet_ml.layers import LayerShape, parameter_count
from linnet_runtime.errors import LinnetError

from linnet_gateway.converters import fill_device_figures
from linnet_gateway.specs.resolution import Resolved, SpecResolution

_TIMEOUT_S = 5.0


class Estimator(Protocol):
    """What knows what a layer list will need on a target: the profiler."""

    async def estimate(
        self, request: profiler_service_pb2.EstimateRequest, timeout_s: float
    ) -> profiler_service_pb2.EstimateResponse:
        """Profile what a layer list will be exported to; raises a LinnetError."""
        ...


class SpecPreview:
    """The use cases of specs that nobody trains."""

    def __init__(self, specs: SpecResolution, estimator: Estimator) -> None:
        self._specs = specs
        self._estimator = estimator

    async def validate(
        self, project: str, spec: spec_pb2.TrainingSpec, field: str
    ) -> pb.ValidateSpecResponse:
        """Check a spec and say what it would make; without a profiler the estimates are left out.

        Raises:
            InvalidInput: Names every wrong field, below `field`.
        """
        resolved = await self._specs.resolve(project, spec, field)
        response = pb.ValidateSpecResponse(spec=resolved.message, warnings=resolved.warnings)
        shapes = resolved.shapes()
        if shapes is None:
            response.warnings.append(
                "the layers of a script are known when it runs: no shapes and no estimates"
            )
            return response
        response.parameter_count = parameter_count(shapes)
        last = len(shapes) - 1
        for index, shape in enumerate(shapes):
            response.layers.append(_layer(-1 if index == last else index, shape))
        await self._add_estimates(response, resolved)
        return response

    async def _add_estimates(self, response: pb.ValidateSpecResponse, resolved: Resolved) -> None:
        request = profiler_service_pb2.EstimateRequest(
            layers=wire.to_message(resolved.network(), spec_pb2.LayerList),
            input_shape=resolved.dataset.facts.input_shape,
            class_count=len(resolved.dataset.classes),
            export=resolved.message.export,
            targets=[resolved.spec.target],
            budgets=resolved.message.budgets,
        )
        try:
            answer = await self._estimator.estimate(request, _TIMEOUT_S)
        except LinnetError as error:
            response.warnings.append(
                f"RAM, flash and latency can't be estimated now: {error.message}"
            )
            return
        for profile in answer.profiles:
            fill_device_figures(response.estimates.add(variant=profile.variant), profile)
            response.warnings.extend(_misfits(profile))

    async def script(self, project: str, spec: spec_pb2.TrainingSpec, field: str) -> str:
        """Write the expert script that does what a spec's network does; raises `InvalidInput`."""
        return (await self._specs.resolve(project, spec, field)).script()


def _misfits(profile: profile_pb2.Profile) -> Iterator[str]:
    name = run_pb2.Variant.Name(profile.variant).removeprefix("VARIANT_").lower()
    if not profile.verdict.fits:
        for why in profile.verdict.reasons:
            yield f"{name} is estimated not to fit {profile.target}: {why}"


def _layer(index: int, shape: LayerShape) -> pb.LayerShape:
    kind = spec_pb2.LayerKind.Name(spec_pb2.LayerKind.ValueType(int(shape.kind)))
    return pb.LayerShape(
        index=index,
        title=kind.removeprefix("LAYER_KIND_").replace("_", " ").lower(),
        output_shape=shape.output_shape,
        parameter_count=shape.parameter_count,
    )
