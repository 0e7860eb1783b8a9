"""Expert scripts on real data: rendered from layers, with a fit of their own, and with errors."""

import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import Architecture
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.scripts.errors import ScriptFailed

from tests.fakes.training import SMALL, Recorder, spec, train, weights_of, wine

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


def test_rendered_script_trains_to_the_same_weights(shop, tmp_path):
    """Switching from layers to the script written of them changes no bit of the result."""
    data = wine(tmp_path)
    layers, _ = train(shop, spec(), data, tmp_path / "layers")
    source = render(SMALL, (13,), 3)
    script, events = train(shop, spec(Architecture(script=source)), data, tmp_path / "script")
    assert weights_of(script) == weights_of(layers)
    assert script.files == layers.files
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
    ],
)
def test_script_errors_name_the_users_own_lines(shop, tmp_path, monkeypatch, source, expected):
    """What a script does wrong comes back cut to its own lines, and never ends the trainer."""
    monkeypatch.setenv("LINNET_TRAINER_TOKEN", "secret")
    with pytest.raises(ScriptFailed) as caught:
        train(shop, spec(Architecture(script=source)), wine(tmp_path), tmp_path / "out")
    assert expected in caught.value.message
    assert "site-packages" not in caught.value.message


def test_model_that_the_converter_refuses_keeps_its_keras_form(shop, tmp_path):
    """A converter that fails or crashes costs the .tflite, not the run, and the reason is told."""
    source = (
        "import keras\nfrom keras import layers\n"
        "def build_model(input_shape, num_classes):\n"
        "    i = keras.Input(input_shape)\n"
        "    x = layers.Reshape((13, 1))(i)\n"
        "    x = layers.LSTM(4)(x)\n"
        "    return keras.Model(i, layers.Dense(num_classes, activation='softmax')(x))\n"
    )
    outcome, _ = train(
        shop, spec(Architecture(script=source), epochs=1), wine(tmp_path), tmp_path / "out"
    )
    assert "model.keras" in outcome.files
    assert "model.int8.tflite" not in outcome.files
    assert any("no int8 model" in w for w in outcome.figures.warnings)
