"""`linnet up` with the real services: everyday use, and kill -9 of all of it during a training."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from linnet.v1 import run_pb2
from linnet_runtime.errors import NotFound
from linnet_sdk import Client, examples
from linnet_sdk.local.identity import identify
from linnet_sdk.server_address import resolve

LINNET = [sys.executable, "-m", "linnet_sdk"]
SERVICES = {"store", "evaluator", "profiler", "gateway"}


class Up:
    """A `linnet up` that runs, and the events that it told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*LINNET, "up", "--home", str(home), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("LINNET_")},
        )
        Thread(target=self._read, daemon=True).start()
        until(lambda: self.of("up") or self.process.poll() is not None, 90)
        assert self.of("up"), (self.events, self.process.poll())

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.events.extend(json.loads(line) for line in self.process.stdout)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]

    def client(self) -> Client:
        return Client(resolve(None, None, self.home, {}))

    def metrics(self, process: str) -> str:
        page = self.of("up")[0]["metrics"][process]
        return httpx.get(page, timeout=10, trust_env=False).raise_for_status().text

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def until(wanted: Callable[[], object], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not wanted():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.05)


@contextlib.contextmanager
def local_mode(home: Path) -> Iterator[Up]:
    up = Up(home)
    try:
        yield up
    finally:
        up.stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with local_mode(tmp_path_factory.mktemp("up") / "home") as running:
        with running.client() as client:
            client.push(examples.load("wine"), dataset_id="wine")
        yield running


def linnet(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LINNET_")}
    return subprocess.run(
        [*LINNET, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env=environment | {"LINNET_HOME": str(home)},
        check=False,
    )


def test_every_service_serves(up: Up) -> None:
    """All four processes serve, and three of them show figures."""
    assert {e["process"] for e in up.of("serving")} == SERVICES
    for name in SERVICES - {"store"}:
        assert "process_resident_memory_bytes" in up.metrics(name)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_push_train_and_report_on_the_command_line(up: Up) -> None:
    """A newcomer's commands, piped: push wine, train it, see scores and figures on device."""
    pushed = linnet(up.home, "datasets", "push", "--example", "wine", "--id", "grapes")
    trained = linnet(up.home, "train", "grapes", "--epochs", "3", "--id", "wine-run")
    listed = linnet(up.home, "runs", "list", "--json")

    assert pushed.returncode == 0, pushed.stderr
    assert "178 samples of 13, 3 classes" in pushed.stdout
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert re.search(r"^epoch 3/3 ", trained.stdout, re.MULTILINE)
    assert re.search(r"^int8 +flash +[\d.]+ KiB", trained.stdout, re.MULTILINE)
    (run,) = json.loads(listed.stdout)["runs"]
    assert run["state"] == "RUN_STATE_SUCCEEDED"


def test_artifacts_are_downloaded(up: Up, tmp_path: Path) -> None:
    """Every artifact of the run is downloaded, as large as the record says."""
    done = linnet(up.home, "runs", "download", "wine-run", "--to", str(tmp_path), "--json")

    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["artifacts"]
    with up.client() as client:
        sizes = {f.name: f.size_bytes for f in client.get_run("wine-run").artifacts}
    assert {name: Path(path).stat().st_size for name, path in written.items()} == sizes
    assert {"model.float32.tflite", "model.int8.tflite"} <= written.keys()


def test_the_report_is_written_as_a_page(up: Up, tmp_path: Path) -> None:
    """`linnet report --html` writes a page that stands alone and names the run."""
    page = tmp_path / "report.html"
    done = linnet(up.home, "report", "wine-run", "--html", str(page))

    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "wine-run" in text
    assert not re.search(r"""(src|href)=["']https?://""", text)


def test_the_log_holds_every_epoch(up: Up) -> None:
    """`linnet runs logs` prints what the trainer printed."""
    done = linnet(up.home, "runs", "logs", "wine-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"not a numpy file", "features.npy"),
        (
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
            "pickled objects",
        ),
    ],
    ids=["no-npy", "pickled"],
)
def test_a_wrong_file_is_refused_and_nothing_is_stored(
    up: Up, tmp_path: Path, content: bytes, told: str
) -> None:
    """A file that is no .npy, or a pickled one, is refused by name; no dataset stays."""
    features, labels = tmp_path / "f.npy", tmp_path / "l.npy"
    features.write_bytes(content.ljust(200))
    labels.write_bytes(content.ljust(200))
    done = linnet(
        up.home, "datasets", "push", "--features", str(features), "--labels", str(labels),
        "--classes", "a,b", "--kind", "tabular", "--id", "wrong",
    )  # fmt: skip

    assert done.returncode == 65
    assert "features.npy" in done.stderr
    assert told in done.stderr
    with up.client() as client, pytest.raises(NotFound):
        client.get_dataset("wrong")


def test_an_unknown_target_is_refused(up: Up) -> None:
    """Training for a target that does not exist is refused with the field's path."""
    done = linnet(up.home, "train", "wine", "--target", "abacus")

    assert done.returncode == 65
    assert done.stderr.startswith("error: ")
    assert "target" in done.stderr
    assert "abacus" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_outlives_the_death_of_everything(tmp_path: Path) -> None:
    """Kill -9 of `linnet up` during a training, then `linnet up`: the one run ends SUCCEEDED."""
    home = tmp_path / "home"
    with local_mode(home) as first:
        pids = [e["pid"] for e in first.of("serving")]
        with first.client() as client:
            client.push(examples.load("digits"), dataset_id="digits")
            run = run_pb2.Run()
            run.spec.dataset = "digits"
            run.spec.fit.epochs = 30
            client.create_run(run, run_id="survivor")
            for response in client.watch("survivor"):
                if any(epoch.number >= 2 for epoch in response.epochs):
                    break
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()

    with local_mode(home) as second, second.client() as client:
        assert not [pid for pid in pids if identify(pid, "")]
        *_, last = client.watch("survivor")
        assert last.run.state == run_pb2.RUN_STATE_SUCCEEDED, last.run
        assert [r.name for r in client.list_runs()] == ["projects/default/runs/survivor"]
        epochs = [e.number for e in client.report("survivor").epochs]
        assert epochs == list(range(1, len(epochs) + 1))
