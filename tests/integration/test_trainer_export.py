"""What leaves for the device: presets, operators, sizes, and what real interpreters say."""

import numpy as np
import pytest
from linnet_ml.defaults import layers_of
from linnet_ml.presets import PRESETS
from linnet_ml.spec import (
    Architecture,
    InputKind,
)

from tests.support.stock_exports import arena_bytes, stock

pytestmark = pytest.mark.usefixtures("shop")
K = InputKind
SHAPES = {
    K.SPECTRAL: (33,),
    K.TABULAR: (13,),
    K.TIME_SERIES: (40, 3),
    K.AUDIO: (650,),
    K.IMAGE: (12, 12, 1),
}
CASES = [
    *sorted({(p.id, kind) for p in PRESETS for kind in p.input_kinds if p.id != "dense"}),
    ("dense", K.SPECTRAL),
]


def model_of(layers, shape, seed=1):
    """Build a model with weights as if it had been trained: none zero, none equal."""
    import keras
    from linnet_trainer import models

    keras.utils.set_random_seed(seed)
    built = models.build(layers, shape, 7)
    rng = np.random.default_rng(seed)
    for variable in built.model.variables:
        if "seed" in variable.path:
            continue
        noise = rng.normal(0, 0.05, variable.shape)
        positive = "variance" in variable.path
        variable.assign(np.abs(variable.numpy() + noise) if positive else variable + noise)
    return built


def rows_of(shape, count=100):
    return np.random.default_rng(2).normal(size=(count, *shape)).astype(np.float32)


def fitted(built, shape, rows):
    """Train a little on rows of seven kinds, so that scores are as apart as a real network's."""
    import keras

    rng = np.random.default_rng(3)
    labels = rng.integers(0, 7, rows)
    x = rng.normal(size=(7, *shape))[labels] * 2 + rng.normal(size=(rows, *shape))
    built.model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    built.model.fit(x, labels, batch_size=20, epochs=4, verbose=0)
    return x.astype(np.float32)


def scores(model, rows):
    """Run a .tflite by LiteRT without delegates, as a device's kernels would."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for row in rows:
        interpreter.set_tensor(given["index"], prepared(row, given))
        interpreter.invoke()
        found.append(interpreter.get_tensor(result["index"]).ravel())
    return np.array(found)


def prepared(row, details):
    shaped = row.reshape(details["shape"])
    if details["dtype"] == np.int8:
        scale, zero_point = details["quantization"]
        shaped = np.clip(np.round(shaped / scale + zero_point), -128, 127)
    return shaped.astype(details["dtype"])


def arena_and_scores(model, rows):
    """Run a .tflite by TFLite Micro; the recording interpreter prints its arena."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=4 << 20)
    details = interpreter.get_input_details(0)
    quantization = details["quantization_parameters"]
    found = []
    for row in rows:
        shaped = row.reshape(details["shape"])
        if details["dtype"] == np.int8:
            scale, zero = quantization["scales"][0], quantization["zero_points"][0]
            shaped = np.clip(np.round(shaped / scale + zero), -128, 127)
        interpreter.set_input(shaped.astype(details["dtype"]), 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).ravel())
    return np.array(found)


@pytest.mark.parametrize(("preset", "kind"), CASES)
def test_template_equals_conversion_and_tflite_micro_agrees(preset, kind):
    """Trained, a filled template equals a full conversion; TFLite Micro runs it as LiteRT does."""
    from linnet_ml import device_ops
    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import for_device, operator_names

    shape = SHAPES[kind]
    layers = layers_of(Architecture(preset=preset), kind, shape)
    built = model_of(layers, shape)
    plan = device_ops.plan(layers, shape, 7)
    rows = fitted(built, shape, 200)
    options = convert.Int8Options(float_io=False, per_tensor_dense=False)
    exporter = convert.Exporter()
    other = plan.arrays(model_of(layers, shape, seed=9).weights())
    exporter.export(plan, other, None, options)

    arrays = plan.arrays(built.weights())
    filled, int8 = exporter.export(plan, arrays, rows, options)
    full = convert.float_model(plan, arrays)
    shaped = rows.reshape(-1, *plan.input_shape[1:])
    assert filled == for_device(full)
    assert int8 == for_device(convert.int8_model(full, shaped, options))

    names = operator_names(int8)
    assert "MEAN" not in names
    assert "RESHAPE" not in names
    expected = np.asarray(built.model(rows))
    np.testing.assert_allclose(scores(filled, rows), expected, atol=1e-4)
    ours, micro = scores(int8, rows), arena_and_scores(int8, rows)
    assert (ours.argmax(axis=1) == micro.argmax(axis=1)).mean() >= 0.995


@pytest.mark.parametrize(
    ("preset", "kind", "operators", "int8", "float32"),
    [
        ("dense", K.SPECTRAL, 4, (0.75, 1.0), (0.85, 1.0)),
        ("conv1d", K.AUDIO, 6, (0.45, 0.60), (0.65, 0.70)),
        ("conv2d", K.AUDIO, 6, (0.75, 0.90), (0.90, 1.0)),
    ],
)
def test_exports_are_smaller_than_stock_and_score_alike(preset, kind, operators, int8, float32):
    """Against the stock converter: fewer operators, smaller file and arena, equal scores."""
    from linnet_ml import device_ops
    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import operator_names

    shape = SHAPES[kind]
    layers = layers_of(Architecture(preset=preset), kind, shape)
    built = model_of(layers, shape)
    rows = rows_of(shape, 60)
    stock_float, stock_int8 = stock(built.model, rows)
    plan = device_ops.plan(layers, shape, 7)
    options = convert.Int8Options(float_io=False, per_tensor_dense=False)
    ours_float, ours_int8 = convert.Exporter().export(
        plan, plan.arrays(built.weights()), rows, options
    )
    for ours, theirs, (size, arena) in (
        (ours_int8, stock_int8, int8),
        (ours_float, stock_float, float32),
    ):
        names = operator_names(ours)
        assert len(names) <= operators
        assert "MEAN" not in names
        assert len(ours) <= size * len(theirs)
        assert arena_bytes(ours) <= arena * arena_bytes(theirs)
        np.testing.assert_array_equal(scores(ours, rows), scores(theirs, rows))


def test_options_change_types_and_scales():
    """Float I/O keeps float32 tensors at both ends; per-tensor dense kernels have one scale."""
    from linnet_ml import device_ops
    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import tensor_facts
    from tensorflow.lite.tools import flatbuffer_utils

    layers = layers_of(Architecture(preset="dense"), K.SPECTRAL, (33,))
    plan = device_ops.plan(layers, (33,), 7)
    arrays = plan.arrays(model_of(layers, (33,)).weights())
    exporter = convert.Exporter()
    most_scales = []
    for per_tensor in (True, False):
        options = convert.Int8Options(float_io=per_tensor, per_tensor_dense=per_tensor)
        _, int8 = exporter.export(plan, arrays, rows_of((33,), 20), options)
        wanted = "float32" if per_tensor else "int8"
        assert tensor_facts(int8)["input"]["type"] == wanted
        parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(int8))
        scales = [
            len(t.quantization.scale)
            for t in parsed.subgraphs[0].tensors
            if t.quantization is not None and t.quantization.scale is not None
        ]
        most_scales.append(max(scales))
    assert most_scales == [1, 20]
