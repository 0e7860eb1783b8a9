"""Sub-commands of services: found by entry points, imported late, harmless when broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("grpc", "numpy", "httpx", "google.protobuf", "tensorflow", "linnet_profiler.showing.cli")


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """Give a folder with an installed service of three commands: good, broken, absent."""
    info = tmp_path / "pretend_service-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretend-service\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[linnet.commands]\n"
        "good = pretend_service.cli:good\n"
        "broken = pretend_service.broken:run\n"
        "absent = not_installed.cli:run\n"
    )
    package = tmp_path / "pretend_service"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text(
        'def good(name: str) -> None:\n    """Greets somebody."""\n    print(f"hello {name}")\n'
    )
    (package / "broken.py").write_text(
        'raise RuntimeError("no such library")\n\n\ndef run() -> None:\n    """Does something."""\n'
    )
    return tmp_path


def run(services: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "linnet_sdk", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(services), "COLUMNS": "100"},
        check=False,
    )


def test_help_shows_every_command_without_importing_it(services: Path) -> None:
    """Help lists commands with their first lines, also of a module that can't be imported."""
    done = run(services, "--help")

    assert done.returncode == 0, done.stderr
    for words in ("Greets somebody.", "Does something.", "From pretend-service.", "datasets"):
        assert words in done.stdout


def test_a_command_of_a_service_runs(services: Path) -> None:
    """A registered function is a sub-command with its arguments."""
    assert run(services, "good", "you").stdout == "hello you\n"
    assert "Greets somebody." in run(services, "good", "--help").stdout


@pytest.mark.parametrize("name", ["broken", "absent"])
def test_a_broken_command_is_told_in_one_line(services: Path, name: str) -> None:
    """Calling a command that can't be imported names its provider in one line."""
    done = run(services, name)

    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert f"`linnet {name}` can't be loaded from pretend-service" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    """`linnet --help` imports no gRPC, numpy, HTTP client, TensorFlow or service."""
    program = (
        "import sys\n"
        "from linnet_sdk.cli.main import main\n"
        "sys.argv = ['linnet', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert ended.code == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stderr == "[]\n"


def test_our_own_commands_are_not_replaced(services: Path) -> None:
    """A service can't take the name of a command of ours."""
    entry = services / "pretend_service-1.0.dist-info" / "entry_points.txt"
    entry.write_text("[linnet.commands]\nruns = pretend_service.cli:good\n")

    assert "watch" in run(services, "runs", "--help").stdout
