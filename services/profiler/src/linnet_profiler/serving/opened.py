"""What runs in the throw-away child: a model or layer list is opened here and nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from linnet.v1 import profile_pb2, profiler_service_pb2, run_pb2
from linnet_ml import wire
from linnet_ml.spec import ExportOptions, LayerList

from linnet_profiler.analysis import Analysis
from linnet_profiler.custom_targets import read_custom_target
from linnet_profiler.estimate import estimate
from linnet_profiler.interpreter.check import replayed_arena_bytes
from linnet_profiler.profile import Budgets
from linnet_profiler.serving.messages import profile_message
from linnet_profiler.target_choice import chosen_targets


def profile_model(
    arguments: Mapping[str, Any], inputs: Sequence[memoryview]
) -> tuple[int | None, list[bytes]]:
    """Profile one model for many targets; a sandbox function.

    Args:
        arguments: `targets` (ids), `custom_targets` (mappings; neither means every target),
            `kernels`, `clock_hz`, and budgets `ram_bytes`, `flash_bytes`, `latency_ms`; each may be
            None. `check`: whether the interpreter will be asked too.
        inputs: The .tflite file.

    Returns:
        The replay's arena of the interpreter's build if asked for, and a serialised
        ProfileResponse with one profile a target.
    """
    analysis = Analysis.of(bytes(inputs[0]))
    response = profiler_service_pb2.ProfileResponse(profiles=_profiles(analysis, arguments))
    replayed = replayed_arena_bytes(analysis.model) if arguments["check"] else None
    return replayed, [response.SerializeToString()]


def estimate_layers(
    arguments: Mapping[str, Any], inputs: Sequence[memoryview]
) -> tuple[None, list[bytes]]:
    """Profile what a layer list will be exported to; a sandbox function.

    Args:
        arguments: As for `profile_model`.
        inputs: A serialised EstimateRequest.

    Returns:
        Nothing, and a serialised EstimateResponse.

    Raises:
        InvalidInput: A layer does not fit.
    """
    request = profiler_service_pb2.EstimateRequest.FromString(bytes(inputs[0]))
    found = estimate(
        wire.from_message(LayerList, request.layers),
        tuple(request.input_shape),
        request.class_count,
        wire.from_message(ExportOptions, request.export),
    )
    response = profiler_service_pb2.EstimateResponse()
    variants = ((run_pb2.VARIANT_FLOAT32, found.float32), (run_pb2.VARIANT_INT8, found.int8))
    for variant, analysis in variants:
        if analysis is not None:
            for profile in _profiles(analysis, arguments):
                profile.variant = variant
                response.profiles.append(profile)
    return None, [response.SerializeToString()]


def _profiles(analysis: Analysis, arguments: Mapping[str, Any]) -> Iterator[profile_pb2.Profile]:
    budgets = Budgets(
        ram_bytes=arguments["ram_bytes"],
        flash_bytes=arguments["flash_bytes"],
        latency_ms=arguments["latency_ms"],
    )
    custom = [read_custom_target(given) for given in arguments["custom_targets"]]
    chosen = chosen_targets(
        arguments["targets"], arguments["kernels"], arguments["clock_hz"], custom
    )
    for target in chosen:
        yield profile_message(analysis.profile(target, budgets))
