"""Expert scripts on real data: rendered from layers, with a fit of their own, and with errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import Architecture, InputKind
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.scripts.errors import ScriptFailed

from tests.fakes.training import SMALL, Recorder, run_data, spec, train, weights_of, wine

TOO_WIDE = """import keras
def build_model(a, b):
    i = keras.Input(a)
    return keras.Model(i, keras.layers.Dense(b + 1)(i))
"""
TOO_LARGE = """import os
assert not any("TOKEN" in name for name in os.environ)
def build_model(a, b):
    open("big", "wb").truncate(1 << 40)
"""
FROZEN = """import keras
def build_model(a, b):
    i = keras.Input(a)
    model = keras.Model(i, keras.layers.Dense(b, activation="softmax")(i))
    model.trainable = False
    return model
"""
UNSAVABLE = """import keras
class Scaled(keras.layers.Layer):
    def __init__(self, by):
        super().__init__()
        self.by = by
    def call(self, x):
        return x * self.by()
def build_model(a, b):
    i = keras.Input(a)
    x = Scaled(lambda: 2.0)(i)
    return keras.Model(i, keras.layers.Dense(b, activation="softmax")(x))
"""
SUBCLASSED = """from __future__ import annotations
from dataclasses import dataclass
import keras
@dataclass
class Sizes:
    hidden: int = 8
class Net(keras.Model):
    def __init__(self, classes, **more):
        super().__init__(**more)
        self.classes = classes
        self.hidden = keras.layers.Dense(Sizes().hidden, activation="relu")
        self.normal = keras.layers.BatchNormalization()
        self.out = keras.layers.Dense(classes, activation="softmax")
    def call(self, x, training=False):
        return self.out(self.normal(self.hidden(x), training=training))
    def get_config(self):
        return {"classes": self.classes}
def build_model(input_shape, num_classes):
    return Net(num_classes)
"""
LOGITS = """import keras
def build_model(a, b):
    i = keras.Input(a)
    return keras.Model(i, keras.layers.Dense(b)(i))
"""
STEPPING = (
    SUBCLASSED
    + """
Net.train_step = lambda self, data: {}
def fit(model, x_train, y_train, x_val, y_val, settings):
    pass
"""
)


def test_rendered_script_trains_and_exports_to_the_same_bits(shop, tmp_path):
    """Switching from layers to the script written of them changes no bit of weights and files."""
    data = wine(tmp_path)
    layers, _ = train(shop, spec(), data, tmp_path / "layers")
    source = render(SMALL, (13,), 3)
    script, events = train(shop, spec(Architecture(script=source)), data, tmp_path / "script")
    assert weights_of(script) == weights_of(layers)
    assert script.files == layers.files
    assert script.figures.warnings == layers.figures.warnings == ()
    for name in ("model.float32.tflite", "model.int8.tflite"):
        ours, theirs = (tmp_path / side / name for side in ("script", "layers"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert len(events.epochs) == 4


def test_scripts_own_fit_is_reported_and_its_prints_are_kept(shop, tmp_path):
    """A script that fits by itself has epochs, its printed lines, and the best weights."""
    source = render(SMALL, (13,), 3) + (
        "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
        "    print('rows', len(x_train))\n"
        "    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])\n"
        "    model.fit(x_train, y_train, validation_data=(x_val, y_val), verbose=0,\n"
        "              epochs=settings.epochs, callbacks=settings.callbacks)\n"
    )
    outcome, events = train(
        shop, spec(Architecture(script=source), epochs=2), wine(tmp_path), tmp_path / "out"
    )
    assert "rows 142" in events.lines
    assert [e.number for e in events.epochs] == [1, 2]
    assert all(e.val_accuracy is not None for e in events.epochs)
    assert "model.int8.tflite" in outcome.files


def test_a_subclassed_model_trains_and_is_exported(shop, tmp_path):
    """A model that is no graph of layers gets one around it: it learns and leaves every file."""
    given = spec(Architecture(script=SUBCLASSED), epochs=30)
    outcome, events = train(shop, given, wine(tmp_path), tmp_path / "out")
    assert {"model.keras", "model.float32.tflite", "model.int8.tflite"} <= set(outcome.files)
    assert events.epochs[-1].accuracy > 0.8


def test_epochs_of_an_own_fit_tell_the_rate_of_its_optimizer(shop, tmp_path):
    """What an epoch says is the rate that the script's schedule has come to, not the spec's."""
    source = render(SMALL, (13,), 3) + (
        "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
        "    falling = keras.optimizers.schedules.PiecewiseConstantDecay([8], [0.5, 0.25])\n"
        "    model.compile(keras.optimizers.SGD(falling), 'sparse_categorical_crossentropy')\n"
        "    model.fit(x_train, y_train, verbose=0, epochs=2, batch_size=32,\n"
        "              callbacks=settings.callbacks)\n"
    )
    _, events = train(
        shop, spec(Architecture(script=source), epochs=2), wine(tmp_path), tmp_path / "out"
    )
    assert [epoch.learning_rate for epoch in events.epochs] == [0.5, 0.25]


OWN_FIT = render(SMALL, (13,), 3) + (
    "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
    "    import time\n"
    "    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])\n"
    "    class Slow(keras.callbacks.Callback):\n"
    "        def on_epoch_end(self, epoch, logs=None):\n"
    "            time.sleep(1.1)\n"
    "    model.fit(x_train, y_train, validation_data=(x_val, y_val), verbose=0, shuffle=False,\n"
    "              epochs=settings.epochs, initial_epoch=settings.initial_epoch,\n"
    "              callbacks=[*settings.callbacks, Slow()])\n"
)


@pytest.mark.parametrize("resumes", [True, False])
def test_scripts_own_fit_resumes_where_it_names_the_first_epoch(shop, tmp_path, resumes):
    """Weights, dropout and optimizer come back to the same bits; without it the fit starts anew."""
    data = wine(tmp_path)
    source = OWN_FIT if resumes else OWN_FIT.replace("initial_epoch=settings.initial_epoch,", "")
    given = spec(Architecture(script=source), epochs=4, batch_size=32)
    whole, _ = train(shop, given, data, tmp_path / "whole")
    stopping = Recorder(stop_after=3)
    cut, _ = train(shop, given, data, tmp_path / "cut", events=stopping)
    assert cut.ending is Ending.TERMINATED
    resumed, events = train(
        shop, given, data, tmp_path / "resumed", checkpoint=stopping.saved[-1], attempt=2
    )
    assert weights_of(resumed) == weights_of(whole)
    numbers = [e.number for e in events.epochs]
    assert numbers[-1] == 4
    assert (numbers[0] > 1) == resumes
    assert any("trained again" in line for line in events.lines) != resumes


FREEZING = (
    "import keras\n"
    "def build_model(input_shape, class_count):\n"
    "    inputs = keras.Input(input_shape)\n"
    "    h = keras.layers.Dense(8, activation='relu', name='base', trainable={built})(inputs)\n"
    "    outputs = keras.layers.Dense(class_count, activation='softmax')(h)\n"
    "    return keras.Model(inputs, outputs)\n"
    "def fit(model, x_train, y_train, x_val, y_val, settings):\n"
    "    for trainable in {order}:\n"
    "        model.get_layer('base').trainable = trainable\n"
    "        model.compile(settings.optimizer.__class__(0.01), 'sparse_categorical_crossentropy')\n"
    "        model.fit(x_train, y_train, validation_data=(x_val, y_val), verbose=0,\n"
    "                  epochs=2, callbacks=settings.callbacks)\n"
    "        base = float(abs(model.get_layer('base').kernel.numpy()).sum())\n"
    "        print('base', round(base, 3), flush=True)\n"
)


@pytest.mark.parametrize(
    ("built", "order"), [(True, (False,)), (True, (False, True)), (False, (False, True))]
)
def test_a_fit_may_freeze_and_thaw_layers(shop, tmp_path, built, order):
    """Transfer as users know it: the head first, then all; what is exported has every weight."""
    import keras

    given = spec(Architecture(script=FREEZING.format(built=built, order=order)), epochs=4)
    given = replace(given, fit=replace(given.fit, keep_best=False))
    outcome, events = train(shop, given, wine(tmp_path), tmp_path / "out")
    assert outcome.ending is Ending.COMPLETED
    assert len(events.epochs) == 2 * len(order)
    told = [float(line.split()[1]) for line in events.lines if line.startswith("base ")]
    saved = keras.models.load_model(tmp_path / "out" / "model.keras")
    kernel = saved.get_layer("base").kernel.numpy()
    assert abs(float(abs(kernel).sum()) - told[-1]) < 0.01
    assert saved.get_layer("base").trainable is built
    if len(order) > 1:
        assert told[0] != told[1]


def test_a_fit_without_metrics_has_a_history_that_any_parser_reads(shop, tmp_path):
    """What was not measured is null: JSON has no word for a value that is no number."""
    source = OWN_FIT.replace(", metrics=['accuracy']", "").replace("time.sleep(1.1)", "pass")
    given = spec(Architecture(script=source), epochs=2, batch_size=32)
    train(shop, given, wine(tmp_path), tmp_path / "out")

    def refuse(word):
        raise AssertionError(word)

    history = json.loads((tmp_path / "out" / "history.json").read_text(), parse_constant=refuse)
    assert [epoch["accuracy"] for epoch in history["epochs"]] == [None, None]
    assert all(epoch["loss"] > 0 for epoch in history["epochs"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def build_model(a, b):\n    return oops\n", "line 2, in build_model\n    return oops"),
        ("import nothing_like_it\n", "No module named"),
        ("def build_model(a, b:\n", "SyntaxError"),
        ("x = 1\n", "build_model"),
        ("import os\ndef build_model(a, b):\n    os._exit(9)\n", "exit code 9"),
        (TOO_WIDE, "(None, 3)"),
        (TOO_LARGE, "File too large"),
        ("import sys\nsys.exit('enough')\n", "line 2, in <module>\n    sys.exit('enough')"),
        ("def build_model(a, b):\n    raise KeyboardInterrupt\n", "line 2, in build_model"),
        (FROZEN, "weights to train"),
        (UNSAVABLE, "get_config"),
        (STEPPING, "train_step of its own"),
        (LOGITS, 'outputs are probabilities, as activation="softmax" at its end gives them'),
    ],
)
def test_script_errors_name_the_users_own_lines(shop, tmp_path, monkeypatch, source, expected):
    """What a script does wrong comes back cut to its own lines, and never ends the trainer."""
    monkeypatch.setenv("LINNET_TRAINER_TOKEN", "secret")
    with pytest.raises(ScriptFailed) as caught:
        train(shop, spec(Architecture(script=source), seed=1), wine(tmp_path), tmp_path / "out")
    assert expected in caught.value.message
    assert "site-packages" not in caught.value.message


def test_outputs_that_are_no_probabilities_and_a_model_compiled_for_nothing_are_told(
    shop, tmp_path
):
    """Sigmoids of several labels, and a compile that the settings overrule, have warnings."""
    source = LOGITS.replace("Dense(b)", "Dense(b, activation='sigmoid')").replace(
        "    return ", "    model = "
    )
    source += "    model.compile('sgd', 'mse')\n    return model\n"
    outcome, events = train(
        shop, spec(Architecture(script=source), epochs=1, seed=1), wine(tmp_path), tmp_path / "out"
    )
    compiled, outputs = outcome.figures.warnings
    assert compiled.startswith("model.compile in build_model has no effect")
    assert outputs.startswith("The model's outputs are no probabilities, but values from 0")
    # Told before the training, not after it.
    assert events.lines.index(f"warning: {outputs}") < events.lines.index("exporting")


def test_an_own_fit_may_train_logits_and_is_warned(shop, tmp_path):
    """A loss from logits is the script's own affair; that a device gives logits is told."""
    source = LOGITS + (
        "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
        "    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
        "    model.compile(keras.optimizers.Adam(settings.learning_rate), loss)\n"
        "    model.fit(x_train, y_train, epochs=settings.epochs, verbose=0,\n"
        "              callbacks=settings.callbacks)\n"
    )
    outcome, _ = train(
        shop, spec(Architecture(script=source), epochs=2, seed=1), wine(tmp_path), tmp_path / "out"
    )
    (warning,) = outcome.figures.warnings
    assert warning.startswith("The model's outputs are no probabilities, but values from -")


def test_model_that_the_converter_refuses_keeps_its_keras_form(shop, tmp_path):
    """A converter that fails costs the .tflite, not the run, and the reason is told."""
    source = LOGITS.replace("Dense(b)(i)", "Dense(b, 'softmax')(keras.ops.erfinv(i * 1e-4))")
    outcome, _ = train(
        shop, spec(Architecture(script=source), epochs=1), wine(tmp_path), tmp_path / "out"
    )
    assert "model.keras" in outcome.files
    assert "model.int8.tflite" not in outcome.files
    told = [w for w in outcome.figures.warnings if "no int8 model, the converter says" in w]
    assert len(told) == 1
    assert "Erfinv" in told[0]


RECURRENT = """import keras
from keras import layers
def build_model(input_shape, num_classes):
    i = keras.Input(input_shape)
    x = layers.LSTM(3)(i)
    return keras.Model(i, layers.Dense(num_classes, activation="softmax")(x))
"""


@pytest.mark.parametrize("steps", [6, 80])
def test_recurrent_layers_are_unrolled_over_short_windows(shop, tmp_path, steps):
    """Short ones have an int8 model, which repeats them; long ones have none, in plain words."""
    labels = np.arange(30) % 3
    rows = np.random.default_rng(0).normal(size=(30, steps, 2)) + labels[:, None, None]
    data = run_data(tmp_path, rows, labels, InputKind.TIME_SERIES)
    given = spec(Architecture(script=RECURRENT), epochs=1)
    outcome, _ = train(shop, given, data, tmp_path / "out")
    assert "model.float32.tflite" in outcome.files
    (warning,) = outcome.figures.warnings
    if steps == 6:
        assert "model.int8.tflite" in outcome.files
        assert warning.startswith("The int8 model repeats its recurrent layers for each step")
        assert "lstm 6 times" in warning
    else:
        assert "model.int8.tflite" not in outcome.files
        assert "recurrent layers have no int8 form but unrolled" in warning
        assert "has 80." in warning
