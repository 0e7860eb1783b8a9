"""Convolutions by 1 x 1 kernels with a stride: the same as Keras', and memory stays whole."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("shop")
ROOT = Path(__file__).parents[2]
CHECKED_MALLOC = Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
STEPS = """
from linnet_trainer.fit import engine
engine.prepare_environment()
import tensorflow as tf
engine.set_threads()
import keras
from linnet_trainer.pointwise import avoid_strides
inputs = keras.Input((4, 4, 2))
inside = keras.layers.Conv2D(4, 1, strides=2, padding="same")(inputs)
outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inside))
model = keras.Model(inputs, outputs)
avoid_strides(model)
rows, labels = tf.random.stateless_normal((24, 4, 4, 2), [1, 2]), tf.range(24) % 3

@tf.function(autograph=False)
def gradients(weights):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        scores, _ = model.stateless_call(weights, [], rows, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(labels, scores)
    return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, weights)], 0)

weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
for _ in range(200):
    gradients(weights)
"""


@pytest.mark.skipif(not CHECKED_MALLOC.exists(), reason="no glibc that checks its memory")
def test_gradients_write_nowhere_else() -> None:
    """Two hundred steps under an allocator that looks at what lies around each piece of memory.

    As Keras computes them they abort within a few steps.
    """
    checked = os.environ | {"LD_PRELOAD": str(CHECKED_MALLOC), "MALLOC_CHECK_": "3"}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], cwd=ROOT, env=checked, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("shape", [(8, 6, 2), (9, 2)])
def test_the_rows_taken_first_are_those_of_the_stride(shape: tuple[int, ...]) -> None:
    """Outputs are Keras' own, the saved model is a plain one, and others are left as they are."""
    import keras
    from linnet_trainer.pointwise import avoid_strides

    conv = keras.layers.Conv2D if len(shape) > 2 else keras.layers.Conv1D
    inputs = keras.Input(shape)
    by_two = conv(3, 1, strides=2, padding="same")
    wide = conv(3, 3, strides=2, padding="same")
    model = keras.Model(inputs, wide(by_two(inputs)))
    rows = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    before = model.get_config()
    avoid_strides(model)
    assert "convolution_op" in vars(by_two)
    assert "convolution_op" not in vars(wide)
    np.testing.assert_allclose(np.asarray(model(rows)), np.asarray(plain(rows)), atol=1e-6)
    assert model.get_config() == before


def test_layer_lists_and_scripts_are_built_so() -> None:
    """The projection of a residual addition, and what a script builds, are computed so."""
    from linnet_ml.defaults import layers_of
    from linnet_ml.render_script import render
    from linnet_ml.spec import Architecture, InputKind, Layer, LayerKind, LayerList
    from linnet_trainer.models import build
    from linnet_trainer.scripts.network import ScriptNetwork

    adds = (
        Layer(LayerKind.DENSE, units=16),
        Layer(LayerKind.RESHAPE, columns=2, channels=4),
        Layer(LayerKind.RESIDUAL_ADD, add_from="input", units=4, stride=2),
    )
    layers = layers_of(Architecture(layers=LayerList(adds)), InputKind.IMAGE, (4, 4, 2))
    rows = np.zeros((3, 4, 4, 2), np.float32)
    network = ScriptNetwork(render(layers, (4, 4, 2), 3), rows, 3, None)  # type: ignore[arg-type]  # exports nothing
    for model in (build(layers, (4, 4, 2), 3).model, network.build()):
        assert sum("convolution_op" in vars(layer) for layer in model.layers) == 1
