"""The compiled loop against stock Keras, bit by bit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from linnet_ml.augmentation import Augmentation
from linnet_ml.defaults import layers_of, resolve
from linnet_ml.spec import (
    Activation,
    Architecture,
    FitSettings,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    Optimizer,
    TrainingSpec,
)

pytestmark = pytest.mark.usefixtures("shop")
ROWS, BATCH = 100, 32
NORMALIZED = Architecture(
    layers=LayerList(
        (
            Layer(LayerKind.CONV1D, units=4, activation=Activation.LINEAR, no_bias=True),
            Layer(LayerKind.BATCH_NORMALIZATION),
            Layer(LayerKind.ACTIVATION),
            Layer(LayerKind.GLOBAL_AVERAGE_POOL),
        )
    )
)
DROPPING = Architecture(
    layers=LayerList((Layer(LayerKind.DENSE, units=9), Layer(LayerKind.DROPOUT, rate=0.3)))
)
RATE = 0.01


def parts(preset="dense", shape=(12,), kind=InputKind.SPECTRAL, *, weighted=False, **fit):
    """Build model, loop, rows, plan of one epoch and starting state."""
    import keras
    from linnet_trainer import models
    from linnet_trainer.fit import loop, steps
    from linnet_trainer.fit.engine import choose

    settings = FitSettings(epochs=2, learning_rate=RATE, batch_size=BATCH, **fit)
    augmentation = Augmentation()
    architecture = preset if isinstance(preset, Architecture) else Architecture(preset=preset)
    spec = resolve(
        TrainingSpec(fit=settings, architecture=architecture, augmentation=augmentation),
        input_kind=kind,
        input_shape=shape,
        class_count=4,
        has_groups=False,
    )
    layers = layers_of(spec.architecture, kind, shape)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(ROWS, *shape)).astype(np.float32)
    y = rng.integers(0, 4, ROWS)
    weights = rng.uniform(0.5, 2, ROWS).astype(np.float32) if weighted else None
    keras.utils.set_random_seed(5)
    model = models.build(layers, shape, 4).model
    engine = choose(layers, spec.fit.optimizer)
    made = loop.TrainingLoop(
        model,
        steps.LoopSettings(spec.fit, augmentation, weighted, engine.sequential),
    )
    keras.utils.set_random_seed(5)
    twin = models.build(layers, shape, 4).model
    return model, made, twin, (x, y, weights), spec.fit


def plan(epoch):
    from linnet_trainer.fit.loop_state import EpochPlan

    order = np.random.default_rng(epoch).permutation(ROWS).astype(np.int32)
    return EpochPlan(order, np.full(-(-ROWS // BATCH), RATE, np.float32), (1, epoch))


def trained(made, model, data, chunks=(0, 4)):
    from linnet_trainer.fit.loop_state import Rows

    state = made.fresh_state(model)
    rows = Rows.of(*data)
    for epoch in range(2):
        state = replace(state, loss_sum=0.0, correct=0.0)
        for start, stop in pairwise(chunks):
            state = made.run(state, rows, plan(epoch), start, stop)
    return state


def stock(twin, data, optimizer, loss=None):
    import keras

    x, y, weights = data
    twin.compile(
        optimizer=optimizer,
        loss=loss or keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    history = None
    for epoch in range(2):
        order = plan(epoch).order
        history = twin.fit(
            x[order],
            y[order],
            sample_weight=None if weights is None else weights[order],
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        ).history
    return twin.get_weights(), history


SMALL = [
    ("dense", (12,), InputKind.SPECTRAL),
    ("conv1d", (20, 3), InputKind.TIME_SERIES),
    ("conv1d", (650,), InputKind.AUDIO),
    ("conv2d", (10, 8), InputKind.AUDIO),
    (NORMALIZED, (12, 3), InputKind.TIME_SERIES),
    (DROPPING, (12,), InputKind.TABULAR),
]
LARGE = [
    ("ds-cnn", (12, 13), InputKind.AUDIO),
    ("mobilenet", (12, 12, 1), InputKind.IMAGE),
    ("resnet-8", (12, 12, 1), InputKind.IMAGE),
]
"""Keras takes tens of seconds to trace one."""


@pytest.mark.parametrize(
    ("preset", "shape", "kind", "rows"),
    [(*case, rows) for rows in (100, 96) for case in SMALL] + [(*case, 100) for case in LARGE],
)
def test_weights_equal_those_of_keras_bit_for_bit(preset, shape, kind, rows, monkeypatch):
    """On the same batches, with a smaller last one or not, loop and model.fit agree exactly."""
    import keras

    monkeypatch.setitem(globals(), "ROWS", rows)
    model, made, twin, data, _ = parts(preset, shape, kind)
    state = trained(made, model, data, chunks=(0, 1, -(-rows // BATCH)))
    made.put_weights(state, model)
    expected, history = stock(twin, data, keras.optimizers.Adam(RATE))
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert state.loss_sum / ROWS == pytest.approx(history["loss"][0], rel=1e-5)
    assert state.correct / ROWS == pytest.approx(history["accuracy"][0], rel=1e-6)


@pytest.mark.parametrize(
    ("fit", "name", "settings"),
    [
        ({"optimizer": Optimizer.ADAMW, "weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
        ({"optimizer": Optimizer.ADAMW, "weight_decay": 0.0}, "AdamW", {"weight_decay": 0.0}),
        ({"optimizer": Optimizer.SGD}, "SGD", {}),
        ({"optimizer": Optimizer.SGD, "momentum": 0.9}, "SGD", {"momentum": 0.9}),
        ({"optimizer": Optimizer.RMSPROP}, "RMSprop", {}),
        ({"optimizer": Optimizer.RMSPROP, "momentum": 0.5}, "RMSprop", {"momentum": 0.5}),
    ],
)
def test_every_optimizer_does_the_arithmetic_of_keras(fit, name, settings):
    """Each optimizer's weights after two epochs with row weights equal Keras' bit for bit."""
    import keras

    model, made, twin, data, _ = parts(weighted=True, **fit)
    made.put_weights(trained(made, model, data), model)
    expected, _ = stock(twin, data, getattr(keras.optimizers, name)(RATE, **settings))
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_corrections_of_adam_are_tensorflows_scalars():
    """The tables of 1 - beta^t hold what TensorFlow computes at each step, far into a training."""
    import tensorflow as tf
    from linnet_trainer.fit.update_rules import BETA_1, BETA_2, corrections

    steps = [*range(1, 1500), 17_000, 32_767, 32_769, 40_000, 10_000_000]
    for beta in (BETA_1, BETA_2):
        expected = [(1 - tf.pow(beta, tf.constant(float(t)))).numpy() for t in steps]
        found = [corrections(beta, t - 1, 1)[0] for t in steps]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(corrections(beta, 1000, 100), found[1000:1100])


@pytest.mark.parametrize(
    "layers",
    [
        (
            Layer(LayerKind.SEPARABLE_CONV, units=4),
            Layer(LayerKind.DROPOUT, rate=0.2),
            Layer(LayerKind.DEPTHWISE_CONV),
            Layer(LayerKind.BATCH_NORMALIZATION, id="kept"),
            Layer(LayerKind.CONV2D, units=6, stride=2, id="wide"),
            Layer(LayerKind.RESIDUAL_ADD, add_from="kept", units=6, stride=4),
            Layer(LayerKind.DENSE, units=5, no_bias=True),
        ),
        (
            Layer(LayerKind.RESHAPE, columns=8),
            Layer(LayerKind.CONV1D, units=4, stack=2),
            Layer(LayerKind.SEPARABLE_CONV, units=3),
            Layer(LayerKind.DROPOUT, rate=0.0),
            Layer(LayerKind.DEPTHWISE_CONV),
            Layer(LayerKind.DROPOUT, rate=0.5),
        ),
    ],
)
def test_a_model_drawn_anew_equals_one_built_anew(layers):
    """Trained and drawn again, every variable has the value of a fresh model of that seed."""
    import keras
    from linnet_trainer import models

    shape = (8, 8, 1)
    listed = layers_of(Architecture(layers=LayerList(layers)), InputKind.IMAGE, shape)
    built = models.build(listed, shape, 4)
    for variable in built.model.variables:
        variable.assign(variable + 1)
    keras.utils.set_random_seed(11)
    models.redraw(built)
    keras.utils.set_random_seed(11)
    fresh = models.build(listed, shape, 4).model
    assert len(fresh.variables) > 6
    for ours, theirs in zip(built.model.variables, fresh.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_chunks_of_an_epoch_give_the_bits_of_the_whole():
    """An epoch in pieces of one to three steps ends in the same weights and sums."""
    model, made, _, data, _ = parts("conv1d", (20, 3), InputKind.TIME_SERIES)
    whole = trained(made, model, data)
    pieces = trained(made, model, data, chunks=(0, 1, 3, 4))
    np.testing.assert_array_equal(whole.weights, pieces.weights)
    assert (whole.loss_sum, whole.correct) == (pieces.loss_sum, pieces.correct)


def test_constraint_and_leaky_activation_train():
    """A kernel with a max norm stays within it; LEAKY_RELU keeps Keras' slope of 0.3."""
    layers = LayerList(
        (
            Layer(LayerKind.RESHAPE, columns=3, channels=1),
            Layer(LayerKind.CONV2D, units=4, kernel_max_norm=0.1, activation=Activation.LEAKY_RELU),
        )
    )
    model, made, _, data, _ = parts(Architecture(layers=layers))
    made.put_weights(trained(made, model, data), model)
    kernel = model.trainable_variables[0].numpy()
    assert np.sqrt((kernel**2).sum(axis=0)).max() <= 0.1 + 1e-6
