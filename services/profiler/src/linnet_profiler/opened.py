"""What runs in the throw-away child: a model file is opened here and nowhere else."""

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.v1 import profiler_service_pb2

from linnet_profiler.analysis import Analysis, adjusted
from linnet_profiler.messages import profile_message
from linnet_profiler.profile import Budgets
from linnet_profiler.targets import find_target, targets


def profile_model(
    arguments: Mapping[str, Any], inputs: Sequence[memoryview]
) -> tuple[None, list[bytes]]:
    """Profile one model for many targets; a sandbox function.

    Args:
        arguments: `targets` (ids; empty means every target), `kernels`, `clock_hz`, and budgets
            `ram_bytes`, `flash_bytes`, `latency_ms`; each may be None.
        inputs: The .tflite file.

    Returns:
        Nothing, and a serialised ProfileResponse with one profile a target.
    """
    chosen = [find_target(name) for name in arguments["targets"]] or list(targets().values())
    if arguments["kernels"] is not None or arguments["clock_hz"] is not None:
        chosen = [adjusted(t, arguments["kernels"], arguments["clock_hz"]) for t in chosen]
    budgets = Budgets(
        ram_bytes=arguments["ram_bytes"],
        flash_bytes=arguments["flash_bytes"],
        latency_ms=arguments["latency_ms"],
    )
    analysis = Analysis.of(bytes(inputs[0]))
    response = profiler_service_pb2.ProfileResponse(
        profiles=[profile_message(analysis.profile(target, budgets)) for target in chosen]
    )
    return None, [response.SerializeToString()]
