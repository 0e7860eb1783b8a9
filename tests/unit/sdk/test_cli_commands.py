"""The command line as a program: piped, in a terminal, and when things are wrong."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.training_service import FakeTrainingService, serving

LINNET = [sys.executable, "-m", "linnet_sdk"]


@pytest.fixture(scope="module")
def service() -> FakeTrainingService:
    return FakeTrainingService()


@pytest.fixture(scope="module")
def server(service: FakeTrainingService) -> Iterator[str]:
    with serving(service) as address:
        yield address


def linnet(*arguments: str, server: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `linnet` with its output piped."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LINNET_")}
    if server:
        variables["LINNET_SERVER"] = server
    return subprocess.run(
        [*LINNET, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=inherited | variables,
        check=False,
    )


def in_terminal(*arguments: str, server: str, columns: int = 80) -> tuple[int, str]:
    """Run `linnet` in a pseudo-terminal and give exit code and output."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update({"LINNET_SERVER": server, "COLUMNS": str(columns), "TERM": "xterm"})
        os.execv(sys.executable, [*LINNET, *arguments])
    printed = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                printed += os.read(terminal, 65536)
            except OSError:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return code, printed.decode()


def test_piped_training_prints_a_line_an_epoch(server: str) -> None:
    """Piped, `linnet train` prints plain lines: each epoch, the scores, the figures on device."""
    done = linnet("train", "watch", "--id", "piped", server=server)

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.findall(r"epoch (\d)/5  loss", done.stdout) == ["1", "2", "3", "4", "5"]
    assert re.search(r"^actual +PEN +ABD +recall", done.stdout, re.MULTILINE)
    assert re.search(r"^PEN +9 +1 ", done.stdout, re.MULTILINE)
    assert re.search(r"^int8 +RAM +64.0 KiB +128.0 KiB +50.0% +yes", done.stdout, re.MULTILINE)


def test_a_terminal_shows_bars(server: str) -> None:
    """In a terminal of 80 columns there is a progress bar and a bar of RAM, nothing cut off."""
    code, printed = in_terminal("train", "watch", "--id", "terminal", server=server)

    assert code == 0
    assert "5/5" in printed
    assert "━" in printed
    assert "█" in printed
    assert "…" not in printed


def test_json_is_one_document_a_line(server: str) -> None:
    """With --json every line is a document of the contract, the last one the finished run."""
    done = linnet("train", "watch", "--id", "json", "--json", server=server)

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [e["number"] for line in lines for e in line.get("epochs", [])] == [1, 2, 3, 4, 5]
    assert lines[-1]["run"]["state"] == "RUN_STATE_SUCCEEDED"
    listed = json.loads(linnet("runs", "list", "--json", server=server).stdout)
    assert "projects/default/runs/json" in {run["name"] for run in listed["runs"]}


def test_a_failed_run_ends_with_its_reason_and_exit_code(
    server: str, service: FakeTrainingService, tmp_path: Path
) -> None:
    """Watching a run that fails prints reason and last lines and ends with exit code 1."""
    from linnet.v1 import run_pb2
    from linnet_sdk import Client, ServerAddress

    run = run_pb2.Run(labels={"fail": "loss became NaN in epoch 3"})
    run.spec.dataset = "watch"
    with Client(ServerAddress(server)) as client:
        client.create_run(run, run_id="failing")
    done = linnet("runs", "watch", "failing", server=server)

    assert done.returncode == 1
    assert "DIVERGED: loss became NaN in epoch 3" in done.stdout
    assert "loss: nan" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("runs", "get", "nobody"), 66, "run 'projects/default/runs/nobody' does not exist"),
        (("runs", "get", "No Name"), 65, "run: expected ids of"),
        (("train", "watch", "--layers", "/nowhere"), 65, "spec.architecture.layers: expected a"),
        (("train", "w", "--preset", "a", "--script", "b"), 65, "spec.architecture: expected one"),
        (("datasets", "push", "--example", "moon"), 65, "example: expected one of smartwatch-raw"),
        (("datasets", "push", "--features", "f"), 65, "features: expected --features and --labels"),
    ],
)
def test_errors_are_one_line(server: str, arguments: tuple[str, ...], code: int, told: str) -> None:
    """What is wrong is told in one line with the field, with an exit code and no traceback."""
    done = linnet(*arguments, server=server)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {told}")


def test_no_server_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Without any server the error says how to start or name one."""
    done = linnet("runs", "list", LINNET_HOME=str(tmp_path))

    assert done.returncode == 69
    assert "linnet up" in done.stderr


def test_the_endpoint_of_a_running_local_mode_is_found(server: str, tmp_path: Path) -> None:
    """The command line finds address and token in the home; --server wins over it."""
    endpoint = {"address": server, "token": "t"}
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))

    assert linnet("runs", "list", LINNET_HOME=str(tmp_path)).returncode == 0
    elsewhere = linnet("runs", "list", "--server", "127.0.0.1:9", LINNET_HOME=str(tmp_path))
    assert elsewhere.returncode == 69
    assert "127.0.0.1:9" in elsewhere.stderr


def test_a_reader_that_goes_away_is_no_error(server: str) -> None:
    """Output into a pipe that nobody reads any more ends quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*LINNET, "runs", "list", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=os.environ | {"LINNET_SERVER": server},
        check=False,
    )
    os.close(write)

    assert done.stderr == ""


@pytest.fixture(scope="module")
def two_runs(server: str) -> tuple[str, str]:
    for name in ("first", "second"):
        done = linnet("train", "watch", "--id", name, "--detach", server=server)
        assert done.returncode == 0, done.stderr
    return "first", "second"


def test_two_runs_are_compared(server: str, two_runs: tuple[str, str]) -> None:
    """The rows that both scored, the gain and its chance are told, to people and programs."""
    shown = linnet("runs", "compare", *two_runs, server=server)
    assert shown.returncode == 0, shown.stderr
    assert "only second  12" in shown.stdout
    assert "+9.0 points (+1.0 to +17.0) for second, p = 0.035" in shown.stdout
    told = json.loads(linnet("runs", "compare", *two_runs, "--json", server=server).stdout)
    assert told["verdict"] == "the second is better"
    wrong = linnet("runs", "compare", *two_runs, "--side", "other", server=server)
    assert "side: expected one of training, validation, test" in wrong.stderr


def test_thresholds_are_applied(server: str, two_runs: tuple[str, str]) -> None:
    """What is certain, and the confusion with its uncertain column, are shown."""
    shown = linnet("runs", "thresholds", two_runs[0], "0.6", "0.7", server=server)
    assert shown.returncode == 0, shown.stderr
    assert "0.6, 0.7 on validation rows" in shown.stdout
    assert "85.0% of rows, 94.1% of them right" in shown.stdout
    assert re.search(r"PEN +8 +0 +2", shown.stdout)
    told = json.loads(
        linnet("runs", "thresholds", two_runs[0], "0.6", "--json", server=server).stdout
    )
    assert told["thresholds"] == [0.6]


def test_a_run_is_profiled_for_any_board(server: str, two_runs: tuple[str, str]) -> None:
    """Boards are chosen by name or all; what does not fit says why, the interpreter too."""
    every = linnet("runs", "profile", two_runs[0], server=server)
    assert every.returncode == 0, every.stderr
    assert "smallest board that fits: cortex-m4f-80mhz" in every.stdout
    board = "cortex-m0plus-48mhz"
    one = linnet("runs", "profile", two_runs[0], "--target", board, "--check", server=server)
    assert re.search(rf"{board} +int8 +64.0 KiB +128.0 KiB +12.50 ms +calibrated +no", one.stdout)
    assert "needs 64 KiB of RAM, has 32" in one.stdout
    assert "interpreter, int8: needs an arena of 4096 bytes, as replayed" in one.stdout
    told = json.loads(
        linnet("runs", "profile", two_runs[0], "--target", board, "--json", server=server).stdout
    )
    assert [found["target"] for found in told["profiles"]] == [board]
