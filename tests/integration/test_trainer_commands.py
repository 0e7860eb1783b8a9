"""The trainer's commands as a user runs them: processes, files, exit codes; killed and resumed."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linnet.v1 import dataset_pb2, run_pb2
from linnet_sdk import Client, ServerAddress
from sklearn.datasets import load_wine

from tests.fakes.training_service import FakeTrainingService, serving


@pytest.fixture
def files(tmp_path):
    features, labels = load_wine(return_X_y=True)
    np.save(tmp_path / "x.npy", features.astype(np.float32))
    np.save(tmp_path / "y.npy", labels)
    return ["--features", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy")]


def command(*words):
    return [sys.executable, "-m", "linnet_trainer", *map(str, words)]


def run(*words):
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=200)


def linnet(*words, at):
    command = [sys.executable, "-m", "linnet_sdk", *words, "--server", at, "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def spec(path: Path, **fit) -> Path:
    path.write_text(json.dumps({"fit": {"epochs": 6, "learningRate": 0.01} | fit}))
    return path


def manifest_of(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def log_of(out: Path, attempt: int) -> list[dict]:
    text = (out / "log" / f"{attempt:08}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def epochs_of(entries: list[dict]) -> list[dict]:
    return [entry["epoch"] for entry in entries if "epoch" in entry]


def test_a_run_is_reproduced_from_its_manifest(tmp_path, files):
    """The same bits come out; other data are named as the reason why not, with exit code 1."""
    out = tmp_path / "out"
    trained = run("fit", spec(tmp_path / "spec.json"), *files, "--out", out)
    assert trained.returncode == 0, trained.stderr
    again = run("reproduce", out / "manifest.json", *files, "--json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told == {
        "equal": True,
        "expected_sha256": manifest_of(out)["weights_sha256"],
        "found_sha256": manifest_of(out)["weights_sha256"],
        "differences": [],
    }
    np.save(tmp_path / "x.npy", np.load(tmp_path / "x.npy") + 1)
    changed = manifest_of(out)
    changed["cpu"], changed["versions"]["keras"] = "another", "1.0"
    (tmp_path / "other.json").write_text(json.dumps(changed))
    other = run("reproduce", tmp_path / "other.json", *files)
    assert other.returncode == 1
    for reason in ("another digest", "the CPU was 'another'", "keras was 1.0"):
        assert reason in other.stdout


def test_linnet_reproduces_a_run_of_a_gateway(tmp_path, files, s3_store):
    """`linnet runs reproduce` reads manifest, dataset and first weights of the gateway, and trains.

    Files that are given are taken instead: others than the run's are named as the difference.
    """
    first, out = tmp_path / "first", tmp_path / "out"
    given = spec(tmp_path / "spec.json", epochs=2)
    assert run("fit", given, *files, "--out", first).returncode == 0
    initial = first / "model.keras"
    words = ["fit", given, *files, "--out", out, "--initial-model", initial]
    assert run(*words).returncode == 0
    service = FakeTrainingService(s3_store)
    paths = {"features.npy": tmp_path / "x.npy", "labels.npy": tmp_path / "y.npy"}
    with serving(service) as address, Client(ServerAddress(address)) as client:
        record = dataset_pb2.Dataset(classes=["a", "b", "c"])
        dataset = client.create_dataset(record, paths, dataset_id="wine")
        manifest = manifest_of(out)
        digests = "".join(file.sha256 for file in dataset.files)
        manifest["dataset"]["sha256"] = hashlib.sha256(digests.encode()).hexdigest()
        service.artifacts["manifest.json"] = json.dumps(manifest).encode()
        service.artifacts["model.keras"] = initial.read_bytes()
        trained = run_pb2.Run()
        trained.spec.dataset = dataset.name
        trained.spec.init_from = "projects/default/runs/r0"
        client.create_run(trained, run_id="r1")
        np.save(tmp_path / "x.npy", np.load(tmp_path / "x.npy") + 1)
        same, other = (linnet("runs", "reproduce", "r1", *more, at=address) for more in ((), files))
    assert same.returncode == 0, same.stderr
    told = json.loads(same.stdout)
    assert told["equal"]
    assert told["differences"] == []
    assert other.returncode == 1, other.stderr
    assert "another digest" in other.stdout


def test_what_is_no_manifest_is_refused(tmp_path, files):
    """A file that is no manifest names itself and ends with a usage error."""
    (tmp_path / "m.json").write_text("{}")
    refused = run("reproduce", tmp_path / "m.json", *files)
    assert refused.returncode == 64
    assert "MANIFEST" in refused.stderr


def test_a_killed_trainer_loses_an_epoch_or_a_second_of_shorter_ones(tmp_path, files):
    """Kill -9 in the middle, the same command again: the weights of an undisturbed run.

    The output of both attempts is kept, and together it holds every epoch once.
    """
    given = spec(tmp_path / "spec.json", epochs=240, batchSize=1)
    whole = run("fit", given, *files, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "killed"
    running = subprocess.Popen(
        command("fit", given, *files, "--out", out), stdout=subprocess.PIPE, text=True
    )
    seen = 0
    for line in running.stdout:
        seen += "epoch " in line and "loss" in line
        if seen >= 5 and (out / "checkpoint" / "state.npz").exists():
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (out / "manifest.json").exists()
    resumed = run("fit", given, *files, "--out", out)
    assert resumed.returncode == 0, resumed.stderr
    first = next(line for line in resumed.stdout.splitlines() if line.startswith("Resuming after"))
    logs = [log_of(out, attempt) for attempt in (1, 2)]
    for attempt, entries in enumerate(logs, 1):
        assert {entry["attempt"] for entry in entries} == {attempt}
        assert [int(entry["sequence"]) for entry in entries] == [*range(1, len(entries) + 1)]
    position = int(first.split("after entry ")[1].split(" ")[0])
    kept, lost = epochs_of(logs[0][:position]), epochs_of(logs[0][position:])
    assert int(first.split("epoch ")[1].split(",")[0]) == len(kept)
    assert sum(epoch["seconds"] for epoch in lost[:-1]) <= 1.0
    again = epochs_of(logs[1])
    assert [epoch["number"] for epoch in (*kept, *again)] == [*range(1, 241)]
    assert manifest_of(out)["weights_sha256"] == manifest_of(tmp_path / "whole")["weights_sha256"]


def test_a_stopped_trainer_leaves_no_process(tmp_path, files):
    """SIGTERM ends with 143 and a checkpoint, and the children that export go with their parent."""
    out = tmp_path / "out"
    given = spec(tmp_path / "spec.json", epochs=100_000)
    running = subprocess.Popen(
        command("fit", given, *files, "--out", out),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    next(line for line in running.stdout if "epoch 2/" in line)
    members = _members(running.pid)
    assert len(members) > len(("trainer",))
    handles = [os.pidfd_open(int(pid)) for pid in members]
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 143
    assert (out / "checkpoint" / "state.npz").exists()
    for handle in handles:
        # Readable once the process has ended.
        assert select.select([handle], [], [], 10)[0]
        os.close(handle)
    assert not _members(running.pid)


def test_a_script_that_asks_gets_no_answer(tmp_path, files):
    """input() ends with EOFError at once, though the trainer's own input stays open."""
    given = tmp_path / "spec.json"
    given.write_text(json.dumps({"architecture": {"script": "input('now?')\n"}}))
    running = subprocess.Popen(
        command("fit", given, *files, "--out", tmp_path / "out"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.wait(100) != 0
    assert "EOFError" in running.stdout.read()


def _members(session: int) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(entry.parent.name)
    return found
