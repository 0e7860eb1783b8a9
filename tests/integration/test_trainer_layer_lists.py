"""Layer lists through the product's own path: trained, exported, or refused before by name."""

from dataclasses import replace

import numpy as np
import pytest
from linnet_ml.spec import (
    Architecture,
    ExportOptions,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    TensorIo,
)

from tests.fakes.training import run_data, spec, train

pytestmark = pytest.mark.usefixtures("shop")
K = LayerKind
CLASSES = 3


def rows_of_classes(folder, shape, rows=30):
    """Put rows of as many kinds as there are classes where a trainer can read them."""
    kinds = {1: InputKind.TABULAR, 2: InputKind.TIME_SERIES, 3: InputKind.IMAGE}
    labels = np.arange(rows) % CLASSES
    rng = np.random.default_rng(7)
    features = rng.normal(size=(CLASSES, *shape))[labels] + rng.normal(size=(rows, *shape))
    return run_data(folder, features, labels, kinds[len(shape)])


RESIDUALS_FROM_THE_INPUT = [
    (
        (10, 3),
        [
            Layer(K.DENSE, units=30),
            Layer(K.RESHAPE, columns=3),
            Layer(K.RESIDUAL_ADD, add_from="input"),
        ],
    ),
    (
        (4, 4, 2),
        [
            Layer(K.DENSE, units=16),
            Layer(K.RESHAPE, columns=2, channels=4),
            Layer(K.RESIDUAL_ADD, add_from="input", units=4, stride=2),
        ],
    ),
    ((6,), [Layer(K.DENSE, units=6), Layer(K.RESIDUAL_ADD, add_from="input")]),
]


@pytest.mark.parametrize(("shape", "layers"), RESIDUALS_FROM_THE_INPUT)
def test_a_residual_add_from_an_input_that_a_dense_layer_reads(shop, tmp_path, shape, layers):
    """The input keeps the axes that the addition needs, and the estimate knows those operators."""
    from linnet_profiler.estimate import estimate
    from linnet_profiler.targets import find_target
    from linnet_trainer.export.tflite_edit import operator_names

    data = rows_of_classes(tmp_path, shape)
    given = spec(Architecture(layers=LayerList(tuple(layers))), epochs=1)
    outcome, _ = train(shop, given, data, tmp_path / "out")

    assert outcome.figures.warnings == ()
    foreseen = estimate(LayerList(tuple(layers)), shape, CLASSES).float32
    names = [op.name for op in foreseen.profile(find_target("nucleo-l4r5zi")).operators]
    exported = (tmp_path / "out" / "model.float32.tflite").read_bytes()
    assert operator_names(exported) == names


def test_export_options_reach_the_exported_files(shop, tmp_path):
    """Float input and output, and no int8 model at all, are what a run is asked for and gives."""
    from linnet_trainer.export.tflite_edit import tensor_facts

    data = rows_of_classes(tmp_path, (6,))
    given = spec(epochs=1)
    floats = replace(given, export=ExportOptions(int8_io=TensorIo.FLOAT32, per_tensor_dense=True))
    train(shop, floats, data, tmp_path / "floats")
    facts = tensor_facts((tmp_path / "floats" / "model.int8.tflite").read_bytes())
    assert (facts["input"]["type"], facts["output"]["type"]) == ("float32", "float32")
    assert {"QUANTIZE", "DEQUANTIZE"} <= set(facts["operators"])
    none = replace(given, export=ExportOptions(skip_int8=True))
    outcome, _ = train(shop, none, data, tmp_path / "none")
    assert [name for name in outcome.files if name.endswith(".tflite")] == ["model.float32.tflite"]
    assert outcome.figures.warnings == ()
