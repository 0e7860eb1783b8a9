"""ValidateSpec and RenderScript: what a spec would make, told before any training."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.batches.specs import grid_run, overridden
from linnet_ml.samples import Samples, samples_bytes
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


async def test_an_explicit_zero_is_kept(bench: Bench) -> None:
    """No decay, no patience and no share are choices; left out, each takes its default."""
    spec = a_spec()
    spec.fit.optimizer = spec_pb2.OPTIMIZER_ADAMW
    spec.fit.early_stopping.SetInParent()
    left_out = (await validate(bench, spec)).spec
    assert left_out.fit.weight_decay == 0.004
    assert left_out.fit.early_stopping.patience_epochs == 10
    assert left_out.split.validation_share == 0.2
    spec.fit.weight_decay = spec.fit.early_stopping.patience_epochs = 0
    spec.split.validation_share = 0
    found = (await validate(bench, spec)).spec
    assert found.fit.HasField("weight_decay")
    assert found.fit.weight_decay == 0
    assert found.fit.early_stopping.HasField("patience_epochs")
    assert found.fit.early_stopping.patience_epochs == 0
    assert found.split.no_validation


async def test_rows_that_a_dataset_marks_validate(bench: Bench) -> None:
    """They are counted, and are the validation set of a spec that names no split of its own."""
    samples = samples_bytes(Samples(validation=np.arange(40) < 10))
    dataset = await bench.push("marked", samples_npz=samples)
    assert dataset.validation_count == 10
    spec = a_spec()
    spec.dataset = dataset.name
    assert (await validate(bench, spec)).spec.split.method == spec_pb2.SPLIT_METHOD_MARKED
    spec.split.validation_share = 0.25
    assert (await validate(bench, spec)).spec.split.method == spec_pb2.SPLIT_METHOD_STRATIFIED
    spec = a_spec()
    spec.split.method = spec_pb2.SPLIT_METHOD_MARKED
    with pytest.raises(InvalidInput, match="expected a dataset that marks validation rows"):
        await validate(bench, spec)


async def test_a_row_that_is_marked_twice_is_refused(bench: Bench) -> None:
    """A row can't validate and test: the dataset is refused by the row's number."""
    marks = np.arange(40) == 7
    samples = samples_bytes(Samples(test=marks, validation=marks))
    with pytest.raises(InvalidInput) as caught:
        await bench.push("twice", samples_npz=samples)
    assert caught.value.violations[0].field.endswith("samples.npz/validation.npy[7]")
    assert caught.value.reason == "TEST_AND_VALIDATION"


def test_a_grid_tells_zero_from_nothing() -> None:
    """A place of a grid may be zero, and so may an override."""
    header = pb.BatchHeader(template=run_pb2.Run(spec=a_spec()))
    for field in ("fit.weight_decay", "fit.early_stopping.patience_epochs"):
        axis = header.grid.add(field=field)
        axis.values.add(number_value=0)
        axis.values.add(number_value=1)
    first = grid_run(header, 0).spec.fit
    assert first.HasField("weight_decay")
    assert first.early_stopping.HasField("patience_epochs")
    changed = pb.RunOverride()
    changed.values["split.validation_share"].number_value = 0
    made = overridden(header.template, changed, "overrides[0]").spec
    assert made.split.HasField("validation_share")
    assert not made.fit.HasField("weight_decay")
