"""What `linnet-trainer fit` refuses before it imports TensorFlow, with nothing left of it."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from linnet_runtime.errors import InvalidInput
from linnet_trainer.file_names import ARTIFACTS, CHECKPOINT
from linnet_trainer.local.events import LocalEvents, next_attempt
from linnet_trainer.local.files import LocalFiles
from linnet_trainer.local.run import LocalRun, run_locally


def order(folder, spec="{}", *, features=None, labels=None, classes=(), initial_model=None):
    (folder / "spec.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    np.save(folder / "x.npy", np.ones((12, 4), np.float32) if features is None else features)
    np.save(folder / "y.npy", np.arange(12) % 2 if labels is None else np.asarray(labels))
    files = LocalFiles(folder / "x.npy", folder / "y.npy")
    return LocalRun(folder / "spec.json", files, folder / "out", classes, None, initial_model)


def refusal(run):
    with pytest.raises(InvalidInput) as found:
        run_locally(run, lambda _line: None)
    assert not run.out.is_dir()
    return str(found.value)


RULES = {
    "fit.optimizer": {"fit": {"optimizer": 99}},
    "fit.epochs": {"fit": {"epochs": 2_000_000_000}},
    "fit.batch_size": {"fit": {"batchSize": 70_000}},
    "fit.seed": {"fit": {"seed": "4294967296"}},
    "fit.weight_decay": {"fit": {"optimizer": "OPTIMIZER_ADAMW", "weightDecay": 5}},
    "augmentation.image.zoom": {"augmentation": {"image": {"zoom": 5}}},
    "export.calibration_rows": {"export": {"calibrationRows": 100_001}},
    "architecture.layers.layers[0].kernel_size": {
        "architecture": {"layers": {"layers": [{"kind": "LAYER_KIND_CONV1D", "kernelSize": 1025}]}}
    },
}


@pytest.mark.parametrize("field", RULES)
def test_a_spec_that_breaks_a_rule_of_the_contract_is_refused_by_field(tmp_path, field):
    """The rules that a gateway has hold without one too."""
    assert refusal(order(tmp_path, RULES[field])).startswith(f"{field}: ")


@pytest.mark.parametrize("text", ["[]", "null", "x{", '{"a": 1}', "[" * 100_000, ""])
def test_what_is_no_spec_is_refused(tmp_path, text):
    """Only a JSON object of a TrainingSpec is a spec."""
    assert refusal(order(tmp_path, text)).startswith("SPEC: expected a TrainingSpec in JSON")


def test_a_label_above_the_number_of_rows_is_refused_before_classes_are_numbered(tmp_path):
    """A label of 10**12 asks for no memory."""
    message = refusal(order(tmp_path, labels=[0] * 11 + [10**12]))
    assert message.startswith("labels.npy: ")
    assert "received 1000000000000" in message


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b", "a")])
def test_class_names_are_unique(tmp_path, names):
    """Two classes of one name could not be told apart in any report."""
    assert refusal(order(tmp_path, classes=names)).startswith("--classes: ")


def test_a_run_to_start_from_needs_its_model(tmp_path):
    """A spec's init_from is not passed over where nobody knows runs."""
    given = {"initFrom": "projects/p/runs/r"}
    assert "--initial-model" in refusal(order(tmp_path, given))
    missing = order(tmp_path, given, initial_model=tmp_path / "none.keras")
    assert refusal(missing).startswith("--initial-model: expected a file")


def test_a_row_can_not_both_validate_and_test(tmp_path):
    """The first row that is marked twice is named."""
    run = order(tmp_path)
    for name, marks in (("test", np.arange(12) > 7), ("validation", np.arange(12) == 9)):
        np.save(tmp_path / f"{name}.npy", marks)
    paths = {name: tmp_path / f"{name}.npy" for name in ("test", "validation")}
    message = refusal(replace(run, files=replace(run.files, **paths)))
    assert message == "validation[9]: expected no test row, received one, as 1 in all"


def test_a_value_that_float32_does_not_hold_is_refused_by_row(tmp_path):
    """Trained on, it would be infinite."""
    features = np.ones((12, 4))
    features[7, 2] = -1e39
    assert refusal(order(tmp_path, features=features)).startswith("features.npy[7, 2]: ")


def test_an_out_that_is_a_file_is_refused(tmp_path):
    """The file stays as it is."""
    (tmp_path / "out").write_text("mine")
    assert refusal(order(tmp_path)).startswith("--out: expected a folder")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_export_clears_what_an_earlier_run_left(tmp_path):
    """No file of an earlier run can be taken for one of this run's."""
    for name in (*ARTIFACTS, "notes.txt"):
        (tmp_path / name).write_text("old")
    events = LocalEvents(tmp_path, 1, lambda _line: None)
    events.line("training")
    assert all((tmp_path / name).exists() for name in ARTIFACTS)
    events.exporting()
    events.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "notes.txt"]


def test_nothing_is_left_of_a_checkpoint_that_is_no_longer_wanted(tmp_path):
    """Neither the file nor its folder stays beside the artifacts."""
    events = LocalEvents(tmp_path, 1, lambda _line: None)
    events.checkpoint(lambda _sequence: b"state")
    assert (tmp_path / CHECKPOINT).read_bytes() == b"state"
    events.forget_checkpoint()
    events.forget_checkpoint()
    events.close()
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_attempts_of_a_run_keep_their_output_apart(tmp_path):
    """Each goes on in a file of its own; a run that has ended makes room for a new one."""
    said = []
    for number in (1, 2):
        assert next_attempt(tmp_path) == number
        events = LocalEvents(tmp_path, number, said.append)
        events.line(f"attempt {number}")
        events.checkpoint(lambda _sequence: b"state")
        events.close()
    logs = sorted((tmp_path / "log").iterdir())
    assert [path.name for path in logs] == ["00000001.jsonl", "00000002.jsonl"]
    assert [f"attempt {n}" in path.read_text() for n, path in enumerate(logs, 1)] == [True, True]
    assert '"attempt": 2, "sequence": "1"' in logs[1].read_text()
    (tmp_path / "manifest.json").write_text("{}")
    assert next_attempt(tmp_path) == 3
    events.forget_checkpoint()
    assert next_attempt(tmp_path) == 1
    assert list((tmp_path / "log").iterdir()) == []


def test_an_old_manifest_ends_no_later_run(tmp_path):
    """A run into a used folder that was killed before its first checkpoint keeps its output."""
    (tmp_path / "manifest.json").write_text("{}")
    os.utime(tmp_path / "manifest.json", (1, 1))
    LocalEvents(tmp_path, 1, lambda _line: None).close()
    assert next_attempt(tmp_path) == 2
    assert (tmp_path / "log" / "00000001.jsonl").exists()
