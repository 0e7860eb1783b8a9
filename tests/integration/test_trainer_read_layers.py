"""A script's model, read back into layers: the same files as of the layer list, or none at all."""

import numpy as np
import pytest
from linnet_ml.defaults import layers_of
from linnet_ml.presets import PRESETS
from linnet_ml.render_script import render
from linnet_ml.spec import (
    Activation,
    Architecture,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    Padding,
    Pooling,
)

pytestmark = pytest.mark.usefixtures("shop")
K = LayerKind
CLASSES = 7
SHAPES = {
    InputKind.SPECTRAL: (33,),
    InputKind.TABULAR: (13,),
    InputKind.TIME_SERIES: (40, 3),
    InputKind.AUDIO: (650,),
    InputKind.IMAGE: (12, 12, 1),
}
RESIDUALS = (
    Layer(K.CONV2D, units=4, id="a", activation=Activation.LEAKY_RELU, pooling=Pooling.NONE),
    Layer(K.DEPTHWISE_CONV, depth_multiplier=2, no_bias=True, activation=Activation.LINEAR),
    Layer(K.BATCH_NORMALIZATION),
    Layer(K.SEPARABLE_CONV, units=6, stride=2, activation=Activation.HARD_SWISH),
    Layer(K.RESIDUAL_ADD, add_from="a", units=6, stride=2, activation=Activation.RELU6, id="b"),
    Layer(K.DROPOUT, rate=0.5),
    Layer(K.CONV2D, units=6, kernel_size=3, kernel_width=1, pooling=Pooling.NONE),
    Layer(K.RESIDUAL_ADD, add_from="b"),
    Layer(K.AVERAGE_POOL, kernel_size=2, padding=Padding.VALID),
    Layer(K.RESHAPE, columns=6),
    Layer(K.MAX_POOL, kernel_size=3),
    Layer(K.GLOBAL_AVERAGE_POOL, id="c"),
    Layer(K.DENSE, units=6, activation=Activation.TANH),
    Layer(K.RESIDUAL_ADD, add_from="c"),
)
CASES = [
    *(
        pytest.param(
            layers_of(Architecture(preset=p.id), kind, SHAPES[kind]), SHAPES[kind], id=name
        )
        for p in PRESETS
        for kind in p.input_kinds
        if (name := f"{p.id}-{kind.name.lower()}")
    ),
    pytest.param(LayerList(RESIDUALS), (12, 12, 1), id="residuals"),
    pytest.param(
        LayerList(
            (
                Layer(K.DENSE, units=30),
                Layer(K.RESHAPE, columns=3),
                Layer(K.RESIDUAL_ADD, add_from="input"),
            )
        ),
        (10, 3),
        id="input",
    ),
]


def built_by(source, shape):
    """Build a script's model with weights that are all apart."""
    from linnet_trainer.scripts.source import Script

    model = Script(source).build(shape, CLASSES)
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if "seed" not in variable.path:
            noise = rng.normal(0, 0.05, variable.shape)
            variable.assign(np.abs(variable + noise) if "variance" in variable.path else noise)
    return model


def exported(layers, weights, shape):
    from linnet_ml import device_ops
    from linnet_trainer.export import convert

    rows = np.random.default_rng(2).normal(size=(10, *shape)).astype(np.float32)
    plan = device_ops.plan(layers, shape, CLASSES)
    options = convert.Int8Options(float_io=False, per_tensor_dense=False)
    return convert.Exporter().export(plan, plan.arrays(weights), rows, options)


@pytest.mark.parametrize(("layers", "shape"), CASES)
def test_a_rendered_script_is_exported_to_the_same_bytes(layers, shape):
    """For every preset, both files of the written script's model equal those of the layer list."""
    from linnet_ml.layer_fields import with_defaults
    from linnet_trainer import models
    from linnet_trainer.scripts.read_layers import read_layers

    whole = LayerList(tuple(with_defaults(layer) for layer in layers.layers))
    script = built_by(render(layers, shape, CLASSES), shape)
    ours = models.build(whole, shape, CLASSES)
    ours.model.set_weights(script.get_weights())

    read = read_layers(script, shape, CLASSES)
    assert read is not None
    assert exported(read.layers, read.weights, shape) == exported(whole, ours.weights(), shape)


HEAD = """import keras
from keras import layers, ops
def build_model(input_shape, num_classes):
    i = keras.Input(input_shape)
    x = i
"""
TAIL = """    x = layers.Flatten()(x)
    return keras.Model(i, layers.Dense(num_classes, activation="softmax")(x))
"""


@pytest.mark.parametrize(
    "body",
    [
        "    x = layers.BatchNormalization(epsilon=1e-5, scale=False)(x)\n",
        "    x = layers.SpatialDropout1D(0.2)(x) + x\n",
        "    x = layers.ReLU(6)(layers.add([i, layers.Conv1D(3, 1, use_bias=False)(x)]))\n",
        (
            "    x = layers.Conv1D(4, 3, padding='same', name='a')(x)\n"
            "    x = layers.Add()([layers.Conv1D(4, 1, use_bias=False)(i), x])\n"
        ),
        (
            "    x = layers.Conv1D(4, 3, activation='hard_silu', padding='same')(x)\n"
            "    x = layers.Conv1D(4, 3, padding='same')(x) + layers.Activation('linear')(x)\n"
            "    x = layers.GlobalAveragePooling1D()(x)\n"
            "    x = layers.Softmax()(layers.Dense(num_classes)(x))\n    return keras.Model(i, x)\n"
        ),
        (
            "    return keras.Sequential([i, layers.Flatten(), layers.Dense(num_classes),"
            " layers.Activation('softmax')])\n"
        ),
    ],
)
def test_what_layers_can_say_is_exported_with_the_same_scores(body):
    """Written otherwise than a layer list would be, a model keeps its scores on the device."""
    from linnet_trainer.scripts.read_layers import read_layers

    from tests.integration.test_trainer_export import scores

    model = built_by(HEAD + body + TAIL, (8, 3))
    read = read_layers(model, (8, 3), CLASSES)
    assert read is not None
    rows = np.random.default_rng(3).normal(size=(20, 8, 3)).astype(np.float32)
    made, int8 = exported(read.layers, read.weights, (8, 3))
    np.testing.assert_allclose(scores(made, rows), np.asarray(model(rows)), atol=1e-5)
    assert int8 is not None


@pytest.mark.parametrize(
    "body",
    [
        "    x = layers.Dense(4)(x)\n",  # on every step, where a layer list's flattens
        "    x = layers.Conv1D(4, 3, dilation_rate=2)(x)\n",
        "    x = layers.Conv1D(4, 3, padding='causal')(x)\n",
        "    x = layers.Conv1D(3, 3, activation='gelu')(x)\n",
        "    x = layers.LeakyReLU(0.1)(x)\n",
        "    x = layers.Dropout(0.5)(x, training=True)\n",
        "    x = x + 1.0\n",
        "    x = layers.Multiply()([x, x])\n",
        "    x = layers.LSTM(4)(x)\n",
        "    x = layers.Normalization(mean=0.5, variance=2.0)(x)\n",
        "    x = layers.Conv1D(3, 3, dtype='float16')(x)\n",
        # Two branches of which neither is the other's start.
        "    x = layers.Conv1D(4, 3)(i) + layers.Conv1D(4, 3)(i)\n",
        (
            "    class Own(keras.Model):\n"
            "        def call(self, x, training=None):\n"
            "            return 1 - super().call(x, training=training)\n"
            "    x = layers.Flatten()(x)\n"
            "    return Own(i, layers.Dense(num_classes, activation='softmax')(x))\n"
        ),
        (
            "    class Dense(layers.Dense):\n"
            "        def call(self, x):\n"
            "            return 2 * super().call(x)\n"
            "    x = Dense(4)(layers.Flatten()(x))\n"
        ),
        (
            "    x = layers.Dense(num_classes, activation='sigmoid')(layers.Flatten()(x))\n"
            "    return keras.Model(i, x)\n"
        ),
    ],
)
def test_what_layers_cannot_say_is_not_read(body):
    """A model that a layer list would change is left to the converter, whole."""
    from linnet_trainer.scripts.read_layers import read_layers

    assert read_layers(built_by(HEAD + body + TAIL, (8, 3)), (8, 3), CLASSES) is None


SQUEEZED = """
    x = layers.Reshape((-1, 4))(x) if len(input_shape) == 1 else x
    make = layers.Conv1D if len(x.shape) == 3 else layers.Conv2D
    pool = layers.GlobalAveragePooling1D if len(x.shape) == 3 else layers.GlobalAveragePooling2D
    x = make(6, 3, padding="same", activation="relu")(x)
    x = layers.Multiply()([x, layers.Dense(6, activation="sigmoid")(pool(keepdims=True)(x))])
    x = pool()(x)
"""


@pytest.mark.parametrize("shape", [(40,), (10, 4), (6, 6, 2)])
@pytest.mark.parametrize("float_io", [False, True])
def test_other_models_are_made_for_the_device_too(shape, float_io):
    """Averages become pools and no reshape is left at the input; scores stay the model's."""
    from linnet_ml.spec import ExportOptions, TensorIo
    from linnet_trainer.export import keras_export
    from linnet_trainer.export.tflite_edit import tensor_facts
    from linnet_trainer.scripts.read_layers import read_layers

    from tests.integration.test_trainer_export import arena_and_scores, scores

    model = built_by(HEAD + SQUEEZED + TAIL, shape)
    assert read_layers(model, shape, CLASSES) is None
    rows = np.random.default_rng(3).normal(size=(20, *shape)).astype(np.float32)
    expected = np.asarray(model(rows))
    plain = keras_export.float32(model)
    np.testing.assert_allclose(scores(plain, rows), expected, atol=1e-5)
    io = TensorIo.FLOAT32 if float_io else TensorIo.INT8
    int8 = keras_export.int8(model, rows, ExportOptions(int8_io=io))
    facts, plain_facts = tensor_facts(int8), tensor_facts(plain)
    for names in (facts["operators"], plain_facts["operators"]):
        assert "MEAN" not in names
        assert next(name for name in names if name != "QUANTIZE") != "RESHAPE"
    assert facts["input"]["shape"] == plain_facts["input"]["shape"]
    ours, micro = scores(int8, rows), arena_and_scores(int8, rows)
    assert (ours.argmax(axis=1) == micro.argmax(axis=1)).all()
    largest = expected.max()
    ours = ours if float_io else (ours.astype(np.float32) + 128) / 256
    np.testing.assert_allclose(ours, expected, atol=0.1 * largest)
