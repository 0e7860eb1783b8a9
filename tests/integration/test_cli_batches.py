"""`linnet batches`, `linnet runs`, `linnet datasets` and `linnet spec` against a real gateway."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, a_spec, dataset_files, running, until

LINNET = [sys.executable, "-m", "linnet_sdk"]
TOKEN = "cli-token"


class Cli:
    """Runs `linnet` against a gateway, in a folder."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("LINNET_")}
        self.environment |= {"LINNET_SERVER": bench.endpoints["address"], "LINNET_TOKEN": TOKEN}

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder."""
        return await asyncio.to_thread(
            subprocess.run,
            [*LINNET, *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command in project demo; gives what it printed."""
        done = await self.run(*arguments, "--project", "demo")
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    async def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json; gives its last document."""
        return json.loads((await self(*arguments, "--json", code=code)).splitlines()[-1])


@pytest.fixture
async def cli(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Cli]:
    folder = tmp_path / "work"
    folder.mkdir()
    async with running(tmp_path, s3_location, api_token=TOKEN) as bench:
        bench.metadata = [("authorization", f"Bearer {TOKEN}")]
        yield Cli(bench, folder)


async def test_datasets_are_pushed_listed_shown_and_deleted(cli: Cli) -> None:
    """Files become a dataset, tables and documents tell of it, and it can be deleted."""
    for name, data in dataset_files().items():
        (cli.folder / name).write_bytes(data)
    files = ("--features", "features.npy", "--labels", "labels.npy")
    pushed = await cli.json(
        "datasets", "push", *files, "--classes", "still,moving", "--kind", "tabular", "--id", "mine"
    )
    assert pushed["state"] == "DATASET_STATE_READY"
    assert "40 samples of 4, 2 classes" in await cli("datasets", "get", "mine")
    assert (await cli("datasets", "list")).splitlines()[1].split()[:3] == ["mine", "tabular", "40"]
    wrong = await cli("datasets", "push", *files, "--kind", "smell", code=65)
    assert "expected one of" in wrong
    await cli("datasets", "delete", "mine")
    assert (await cli.json("datasets", "list"))["datasets"] == []


async def test_a_grid_is_watched_and_its_results_are_a_table(cli: Cli) -> None:
    """A grid of four runs is trained, listed and filtered, and read back as one Parquet file."""
    await cli.bench.push()
    (cli.folder / "spec.json").write_text('{"fit": {"epochs": 2}}')
    told = await cli(
        "batches", "create", "watch", "--spec", "spec.json", "--preset", "dense", "--id", "grid",
        "--grid", "fit.learning_rate=0.01,0.02", "--grid", "fit.seed=1,2", "--shard-size", "4",
    )  # fmt: skip
    assert "DONE  4/4 done  4 SUCCEEDED" in told.splitlines()[-1]
    (line,) = (await cli("batches", "list")).splitlines()[1:]
    assert line.split()[:5] == ["grid", "DONE", "4", "4", "0"]
    assert "runs     4: 4 SUCCEEDED" in await cli("batches", "get", "grid")
    listed = await cli.json("runs", "list", "--batch", "grid", "--limit", "3")
    assert len(listed["runs"]) == 3
    assert (await cli.json("runs", "list", "--state", "failed"))["runs"] == []
    written = await cli.json("batches", "results", "grid")
    assert written == {"results": "grid.parquet"}
    data = (cli.folder / "grid.parquet").read_bytes()
    table = pyarrow.parquet.read_table(io.BytesIO(data)).to_pydict()
    assert table["batch_index"] == [0, 1, 2, 3]
    assert table["state"] == ["SUCCEEDED"] * 4
    assert [json.loads(spec)["fit"]["learning_rate"] for spec in table["spec"]] == [
        0.01, 0.01, 0.02, 0.02,
    ]  # fmt: skip


async def test_a_list_of_runs_and_overrides_fills_a_batch(cli: Cli) -> None:
    """Runs and changes of the template come from files, a wrong line is named."""
    await cli.bench.push()
    run = {"spec": {"dataset": "watch", "architecture": {"preset": "dense"}, "fit": {"epochs": 1}}}
    (cli.folder / "runs.jsonl").write_text(f"{json.dumps(run)}\n\n{json.dumps(run)}\n")
    override = {"values": {"fit.epochs": 3}, "display_name": "longer"}
    (cli.folder / "overrides.jsonl").write_text(json.dumps(override))
    ended = await cli.json(
        "batches", "create", "watch", "--preset", "dense", "--id", "listed",
        "--runs", "runs.jsonl", "--overrides", "overrides.jsonl",
    )  # fmt: skip
    assert ended["batch"]["run_count"] == "3"
    found = (await cli.json("runs", "list", "--batch", "listed"))["runs"]
    epochs = {r.get("display_name", ""): r["spec"]["fit"]["epochs"] for r in found}
    assert epochs == {"": 1, "longer": 3}
    (cli.folder / "runs.jsonl").write_text('{"spec": {"datsaet": 1}}\n')
    told = await cli("batches", "create", "--runs", "runs.jsonl", code=65)
    assert "runs.jsonl:1" in told


async def test_failed_runs_are_told_and_tried_again(cli: Cli) -> None:
    """A failure ends the watching command with 1 and its reason; retry-failed mends the batch."""
    await cli.bench.push()
    cli.bench.control(failure={"*": run_pb2.FAILURE_REASON_DIVERGED})
    told = await cli("batches", "create", "watch", "--preset", "dense", "--id", "again", code=1)
    assert "1 DIVERGED" in told.splitlines()[-1]
    cli.bench.control()
    retried = await cli.json("batches", "retry-failed", "again")
    assert retried["run_count"] == "2"
    last = await cli.json("batches", "watch", "again", code=1)
    counts = {c["state"]: c["run_count"] for c in last["batch"]["run_counts"]}
    assert counts == {"RUN_STATE_SUCCEEDED": "1", "RUN_STATE_FAILED": "1"}


async def test_a_batch_is_suspended_resumed_cancelled_and_left(cli: Cli) -> None:
    """Steering acts on the whole batch; Ctrl-C leaves it under way and says how to come back."""
    await cli.bench.push()
    cli.bench.control(hold=2)
    created = await cli(
        "batches", "create", "watch", "--preset", "dense", "--id", "steered",
        "--grid", "fit.seed=1,2,3", "--epochs", "3", "--detach",
    )  # fmt: skip
    assert created == "steered  3 runs\n"
    assert "state    SUSPENDED" in await cli("batches", "suspend", "steered")
    assert "state    RUNNING" in await cli("batches", "resume", "steered")
    watching = await asyncio.create_subprocess_exec(
        *LINNET, "batches", "watch", "steered", "--project", "demo",
        env=cli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert watching.stdout is not None
    first = await watching.stdout.readline()
    assert b"0/3 done" in first
    watching.send_signal(signal.SIGINT)
    _, told = await watching.communicate()
    assert watching.returncode == 130
    assert b"steered goes on: linnet batches watch steered" in told
    assert "state    CANCELLING" in await cli("batches", "cancel", "steered")

    async def done() -> bool:
        return "DONE" in await cli("batches", "get", "steered")

    await until(done, 60)
    await cli("batches", "get", "nobody", code=66)


async def test_retraining_tells_what_got_better(cli: Cli) -> None:
    """Succeeded runs are trained again from their weights and held against themselves."""
    await cli.bench.push()
    await cli("batches", "create", "watch", "--preset", "dense", "--id", "old", "--epochs", "1")
    told = await cli("batches", "retrain", 'batch = "old"', "--from-weights", "--id", "new")
    assert "against predecessors: 1 EQUAL" in told.splitlines()[-1]
    (run,) = (await cli.json("runs", "list", "--batch", "new"))["runs"]
    (before,) = (await cli.json("runs", "list", "--batch", "old"))["runs"]
    assert run["predecessor"] == run["spec"]["init_from"] == before["name"]
    assert "selects none" in await cli("batches", "retrain", 'batch = "none"', code=65)


async def test_specs_are_checked_imported_and_rendered(cli: Cli) -> None:
    """Layers, estimates, presets and scripts come from the gateway, settings from a file."""
    await cli.bench.push()
    settings = {
        "mode": "visual",
        "trainingCycles": 7,
        "learningRate": 0.002,
        "visualLayers": [{"type": "dense", "neurons": 20}, {"type": "dropout", "dropoutRate": 0.1}],
        "useLearnedOptimizer": True,
    }
    (cli.folder / "settings.json").write_text(json.dumps(settings))
    imported = await cli.run("spec", "import", "settings.json", "--to", "spec.json")
    assert imported.returncode == 0
    assert imported.stderr.startswith("note: useLearnedOptimizer")
    checked = await cli("spec", "check", "watch", "--spec", "spec.json")
    assert [line.split()[:3] for line in checked.splitlines()[1:3]] == [
        ["0", "dense", "20"],
        ["1", "dropout", "20"],
    ]
    assert "int8     2.0 KiB" in checked
    assert "warning: float32 is estimated not to fit" in checked
    assert "Dropout(0.1)" in await cli("spec", "script", "watch", "--spec", "spec.json")
    assert "mobilenet" not in await cli("spec", "presets", "--kind", "tabular")
    assert "RESIDUAL_ADD" in await cli("spec", "layers")
    (cli.folder / "settings.json").write_text("[]")
    wrong = await cli.run("spec", "import", "settings.json")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (65, 1)


async def test_runs_are_logged_downloaded_and_deleted(cli: Cli) -> None:
    """Output and artifacts of a run come to the terminal and to files; a deleted run is gone."""
    await cli.bench.push()
    asked = run_pb2.Run(spec=a_spec(2), labels={"line": "a3"})
    request = pb.CreateRunRequest(parent=PARENT, run_id="one", run=asked)
    run = await cli.bench.call("CreateRun", request)
    await cli.bench.until_state(run.name, run_pb2.RUN_STATE_SUCCEEDED)
    assert await cli("runs", "logs", "one", "--follow")
    written = await cli.json("runs", "download", "one", "model.int8.tflite", "--to", "out")
    assert (cli.folder / written["artifacts"]["model.int8.tflite"]).read_bytes() == b"int8"
    found = await cli.json("runs", "list", "--label", "line=a3", "--dataset", "watch")
    assert [r["name"] for r in found["runs"]] == [run.name]
    assert (await cli.json("runs", "list", "--label", "line=b"))["runs"] == []
    await cli("runs", "delete", "one")
    await cli("runs", "get", "one", code=66)
