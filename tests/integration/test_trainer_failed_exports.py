"""What a run says, and keeps, when a step of its export raises or ends the process it runs in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import Architecture, Layer, LayerKind, LayerList

from tests.fakes.training import SMALL, spec, train, wine

ROOT = Path(__file__).parents[2]
# The steps fail as a converter does: before the trainer forks what exports. Each kind has a process
# of its own, forked once TensorFlow is imported, and before its first operation.
DRIVER = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from linnet_trainer.fit import engine
engine.prepare_environment()
import keras
from linnet_ml.spec import ExportOptions
from linnet_trainer.export import convert
from linnet_trainer.startup import workshop
from tests.fakes.training import spec, train, wine

def crashes(model, rows, options):
    os.write(2, b"loc(fused): error: no scale for tensor 7\\n")
    os.abort()

def raises(model, rows, options):
    raise KeyError("tensor 7")

def broken(self, plan, arrays):
    raise AttributeError("no such attribute")

def outcome_of(kind, folder):
    folder.mkdir()
    if kind == "crash":
        convert.int8_model = crashes
    elif kind == "raise":
        convert.int8_model = raises
    elif kind == "float32":
        convert.int8_model = raises
        convert.Exporter.float32 = broken
    else:
        sys.modules["tflite_micro"] = None
    with workshop() as shop:
        given = replace(spec(epochs=1), export=ExportOptions())
        outcome, _ = train(shop, given, wine(folder), folder / "out")
    told = json.dumps([outcome.files, outcome.figures.warnings])
    (folder / "told.json").write_text(told)

for kind in sys.argv[2:]:
    child = os.fork()
    if not child:
        outcome_of(kind, Path(sys.argv[1]) / kind)
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(kind)
"""
KINDS = ("crash", "raise", "float32", "unchecked")


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Where each kind of failure left its run."""
    folder = tmp_path_factory.mktemp("failed")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder, *KINDS],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "variants", "warning"),
    [
        (
            "crash",
            ["float32"],
            (
                "There is no int8 model, the converter crashed: it was killed by SIGABRT, it said: "
                "loc(fused): error: no scale for tensor 7."
            ),
        ),
        (
            "raise",
            ["float32"],
            "There is no int8 model, the converter says: KeyError: 'tensor 7'",
        ),
        (
            "float32",
            [],
            "There is no exported model, the converter says: AttributeError: no such attribute",
        ),
        (
            "unchecked",
            ["float32", "int8"],
            (
                "The models were not checked with TFLite Micro, which can't be loaded: "
                "ModuleNotFoundError: No module named 'tflite_micro.python'; 'tflite_micro' is "
                "not a package"
            ),
        ),
    ],
)
def test_a_failed_step_of_an_export_costs_its_own_file_only(failed, kind, variants, warning):
    """The run keeps its Keras model and each file made before, and tells the reason in words."""
    out = failed / kind / "out"
    files, warnings = json.loads((failed / kind / "told.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())

    assert warnings == manifest["warnings"] == [warning]
    assert "model.keras" in files
    assert [name for name in files if name.endswith(".tflite")] == [
        f"model.{variant}.tflite" for variant in variants
    ]
    assert list(manifest["variants"]) == variants
    assert manifest["model_input_shape"] == ([1, 13] if variants else None)
    assert {p.name for p in out.iterdir()} == set(files)


def test_a_model_that_tflite_micro_aborts_on_is_told(shop, tmp_path):
    """A network that gives every row the same scores: the int8 file is there, and warned about."""
    import keras

    data = wine(tmp_path)
    layers = Architecture(layers=LayerList((Layer(LayerKind.DENSE, units=4),)))
    train(shop, spec(layers, epochs=1), data, tmp_path / "live")
    model = keras.models.load_model(tmp_path / "live" / "model.keras")
    for variable in model.variables:
        variable.assign(variable * 0)
    model.save(tmp_path / "dead.keras")
    given = spec(layers, epochs=1, learning_rate=1e-30)
    outcome, _ = train(shop, given, data, tmp_path / "out", initial_model=tmp_path / "dead.keras")
    (warning,) = outcome.figures.warnings
    assert warning.startswith("TFLite Micro can't run model.int8.tflite: it was killed by SIGABRT")
    assert "same values for every row" in warning
    assert "model.int8.tflite" in outcome.files
    assert (tmp_path / "out" / "last_words.txt").exists() is False


def test_a_model_that_tflite_micro_refuses_is_told_with_its_own_words(shop, tmp_path):
    """An operator that the interpreter lacks is named, for each file that has it."""
    source = render(SMALL, (13,), 3).replace('layers.Dense(8, activation="relu")', "SELU")
    assert "SELU" in source
    source = source.replace("SELU", 'layers.Dense(8, activation="selu")')
    given = spec(Architecture(script=source), epochs=1)
    outcome, _ = train(shop, given, wine(tmp_path), tmp_path / "out")
    assert len(outcome.figures.warnings) == 2
    for name, warning in zip(("float32", "int8"), outcome.figures.warnings, strict=True):
        assert warning.startswith(f"TFLite Micro refuses model.{name}.tflite: ")
        assert "Didn't find op for builtin opcode 'SELECT'" in warning
