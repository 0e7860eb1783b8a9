"""ValidateSpec and RenderScript: what a spec would make, told before any training."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput, Unavailable
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, a_spec, running


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        await made.push()
        yield made


def layered() -> spec_pb2.TrainingSpec:
    """Give a spec of two dense layers with a disabled one between them."""
    spec = a_spec()
    for units, enabled in ((8, True), (16, False), (4, True)):
        spec.architecture.layers.layers.add(
            kind=spec_pb2.LAYER_KIND_DENSE, units=units, enabled=enabled
        )
    return spec


async def validate(bench: Bench, spec: spec_pb2.TrainingSpec) -> pb.ValidateSpecResponse:
    request = pb.ValidateSpecRequest(parent=PARENT, spec=spec)
    found: pb.ValidateSpecResponse = await bench.call("ValidateSpec", request)
    return found


async def test_a_spec_is_sized_before_it_is_trained(bench: Bench) -> None:
    """Shapes, parameters and, by the profiler, RAM, flash and time of both variants come back."""
    found = await validate(bench, layered())
    assert [(layer.index, list(layer.output_shape)) for layer in found.layers] == [
        (0, [8]),
        (1, [8]),
        (2, [4]),
        (-1, [2]),
    ]
    # 4 inputs to 8, 8 to 4 (the layer between is disabled), 4 to 2 classes, each with a bias.
    assert found.parameter_count == 40 + 36 + 10
    float32, int8 = found.estimates
    assert (float32.variant, int8.variant) == (run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8)
    assert (int8.ram_bytes, int8.flash_bytes, int8.latency_us, int8.fits) == (
        3000,
        20_000,
        1500.0,
        True,
    )
    (warning,) = found.warnings
    assert warning.startswith("float32 is estimated not to fit cortex-m4f-80mhz: RAM")
    listed = await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))
    assert not listed.runs


async def test_without_a_profiler_a_spec_is_still_checked(bench: Bench) -> None:
    """While the profiler is away layers come without estimates, and a warning says so."""
    await validate(bench, layered())  # the targets are known from here on
    bench.analysts.failures = [Unavailable("the profiler restarts")]
    found = await validate(bench, layered())
    assert len(found.layers) == 4
    assert not found.estimates
    assert found.warnings == [
        "RAM, flash and latency can't be estimated now: the profiler restarts"
    ]


async def test_a_script_has_no_layers_before_it_runs(bench: Bench) -> None:
    """An expert spec is checked without its network, and says that it can't be sized."""
    spec = a_spec()
    spec.architecture.script = "def build_model(input_shape, num_classes): ..."
    found = await validate(bench, spec)
    assert not found.layers
    assert not found.HasField("parameter_count")
    assert "script" in found.warnings[0]


async def test_layers_become_a_script(bench: Bench) -> None:
    """RenderScript writes Keras source of the enabled layers; a wrong layer is refused by place."""
    request = pb.RenderScriptRequest(parent=PARENT, spec=layered())
    script = (await bench.call("RenderScript", request)).script
    compile(script, "script.py", "exec")
    assert "Dense(8" in script
    assert "Dense(16" not in script
    request.spec.architecture.layers.layers[2].kind = spec_pb2.LAYER_KIND_CONV2D
    with pytest.raises(InvalidInput) as caught:
        await bench.call("RenderScript", request)
    field = caught.value.violations[0].field
    assert field.startswith("spec.architecture.layers.layers[2]")
