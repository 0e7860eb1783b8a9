"""The profile of a layer list before training is that of the model it is converted to."""

import statistics
import time
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from layer_lists import CLASSES, networks
from linnet_ml.spec import ExportOptions, Layer, LayerKind, LayerList, TensorIo
from linnet_profiler.analysis import Analysis
from linnet_profiler.estimate import estimate
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi
from linnet_profiler.targets import find_target
from linnet_runtime.errors import InvalidInput

ARCHIVE = Path(__file__).parents[2] / "data" / "profiler" / "layer_lists.zip"
PLANS = (
    (Abi.ARM32, KernelSet.CMSIS_DSP),
    (Abi.ARM32, KernelSet.CMSIS_MVE),
    (Abi.WHEEL, KernelSet.REFERENCE),
)
# Two branches from the input that the importer walks the other way round: one of 149 lists.
OTHER_ORDER = "random20"
EXPORTS = {
    "float32": ExportOptions(skip_int8=True),
    "int8": ExportOptions(int8_io=TensorIo.INT8),
    "int8-float-io": ExportOptions(int8_io=TensorIo.FLOAT32),
    "int8-per-tensor": ExportOptions(int8_io=TensorIo.INT8, per_tensor_dense=True),
}


@cache
def pairs() -> tuple[tuple[str, Analysis, Analysis], ...]:
    """Name, what was estimated, what was exported; for every list and variant."""
    return tuple(_pairs())


def _pairs() -> Iterator[tuple[str, Analysis, Analysis]]:
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name, layers, shape in networks():
            if name == OTHER_ORDER:
                continue
            for variant, options in EXPORTS.items():
                estimates = estimate(layers, shape, CLASSES, options)
                found = estimates.float32 if variant == "float32" else estimates.int8
                assert found is not None
                exported = Analysis.of(archive.read(f"{name}/{variant}.tflite"))
                yield f"{name}/{variant}", found, exported


def operators(analysis: Analysis) -> list[object]:
    """What an operator is: name, shapes, type, options, MACs, parameters."""
    profile = analysis.profile(find_target("nucleo-l4r5zi"))
    return [
        (op.name, op.dtype, op.input_shape, op.output_shape, op.options, op.macs, op.parameters)
        for op in profile.operators
    ]


def test_operators_and_macs_equal_those_of_the_converted_model() -> None:
    """Every list gives the converted model's operators, options, MACs and parameters, in order."""
    different = [name for name, mine, real in pairs() if operators(mine) != operators(real)]
    assert different == []


@pytest.mark.parametrize(("abi", "kernels"), PLANS)
def test_the_arena_equals_that_of_the_converted_model(abi: Abi, kernels: KernelSet) -> None:
    """Arena used, to declare, head and tail equal the converted model's to the byte."""
    different = []
    for name, mine, real in pairs():
        one, other = mine.plan(abi, kernels), real.plan(abi, kernels)
        fields = ("arena_used_bytes", "arena_declare_bytes", "head_bytes", "tail_bytes")
        if any(getattr(one, field) != getattr(other, field) for field in fields):
            different.append((name, one.arena_used_bytes, other.arena_used_bytes))
    assert different == []


def test_instructions_and_file_size_are_close() -> None:
    """Instructions are within 1 % and the file's length within 7 % of the converted model's."""
    board = find_target("raspberry-pi-pico")
    far = []
    for name, mine, real in pairs():
        one, other = mine.profile(board), real.profile(board)
        instructions = one.latency.instructions / other.latency.instructions - 1
        length = mine.model.size_bytes / real.model.size_bytes - 1
        if abs(instructions) > 0.01 or abs(length) > 0.07:
            far.append((name, instructions, length))
    assert far == []


def test_an_estimate_keeps_up_with_typing() -> None:
    """A preset's float32 and int8 estimates for one board take 20 ms; here with room for load."""
    board = find_target("nucleo-l4r5zi")
    name, layers, shape = next(network for network in networks() if network[0].startswith("ds-cnn"))
    taken = []
    for _ in range(9):
        begun = time.process_time()
        estimates = estimate(layers, shape, CLASSES)
        assert estimates.int8 is not None
        estimates.float32.profile(board)
        estimates.int8.profile(board)
        taken.append(time.process_time() - begun)
    assert statistics.median(taken) <= 0.04, name


def test_layers_that_do_not_fit_are_refused_by_path() -> None:
    """A layer that can't follow the one before it is named."""
    layers = LayerList((Layer(LayerKind.CONV2D, units=4),))
    with pytest.raises(InvalidInput) as caught:
        estimate(layers, (10,), CLASSES)
    assert "architecture.layers.layers[0]" in caught.value.violations[0].field


def test_disabled_layers_are_left_out() -> None:
    """A layer that isn't enabled is no operator."""
    layers = LayerList(
        (Layer(LayerKind.DENSE, units=4, enabled=False), Layer(LayerKind.DENSE, units=5))
    )
    names = [op.name for op in estimate(layers, (10,), CLASSES).float32.model.main.operators]
    assert names == ["FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"]


def test_a_refusal_counts_disabled_layers() -> None:
    """The place of a layer that can't follow is that in the list as given."""
    layers = LayerList(
        (
            Layer(LayerKind.DENSE, units=4, enabled=False),
            Layer(LayerKind.CONV2D, units=4),
        )
    )
    with pytest.raises(InvalidInput) as caught:
        estimate(layers, (10,), CLASSES)
    assert "architecture.layers.layers[1]" in caught.value.violations[0].field
