"""What installs with which member: TensorFlow with the trainer only, no service with the SDK."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.testbed.uvprogram import uv_program

ROOT = Path(__file__).parents[2]
HEAVY = {"tensorflow", "tensorflow-cpu", "keras", "kubernetes", "pyarrow", "sqlalchemy"}


def uv(*arguments: str, **variables: str) -> str:
    """Run uv on this workspace, from its cache alone, and give what it prints."""
    return subprocess.run(
        [uv_program(), *arguments, "--offline", "--frozen", "--project", str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | variables,
    ).stdout


def closure(member: str, *options: str) -> set[str]:
    """Give the names of everything that a member installs, itself excepted."""
    text = uv("export", "--no-dev", "--no-hashes", "--no-annotate", "--package", member, *options)
    lines = [line for line in text.splitlines() if line and line[0] not in "#-."]
    return {line.partition("==")[0].partition("[")[0].strip() for line in lines}


@pytest.mark.slow
def test_the_command_line_installs_without_any_service(tmp_path: Path) -> None:
    """With linnet and the libs alone, `linnet` works as far as it can without services."""
    place = tmp_path / "venv"
    uv(
        "sync", "--no-dev", "--package", "linnet", "--quiet",
        UV_PROJECT_ENVIRONMENT=str(place), UV_COMPILE_BYTECODE="0", VIRTUAL_ENV="",
    )  # fmt: skip
    shown = subprocess.run(
        [place / "bin" / "linnet", "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    program = (
        "import importlib.util as u\n"
        "names = ['tensorflow', 'keras', 'kubernetes', 'sqlalchemy', 'linnet_gateway',"
        " 'linnet_trainer', 'linnet_evaluator', 'linnet_profiler']\n"
        "print([n for n in names if u.find_spec(n)])\n"
        "from linnet_sdk import AsyncClient, Client\n"
        "from linnet_sdk.local import mode\n"
    )
    found = subprocess.run(
        [place / "bin" / "python", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    up = subprocess.run(
        [place / "bin" / "linnet", "up", "--home", tmp_path / "home"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert up.returncode == 73
    assert up.stderr.startswith("error: local mode needs services that are not installed: ")
    assert "datasets" in shown
    assert "profile" not in shown
    assert found == "[]\n"


@pytest.mark.parametrize(
    ("member", "options", "may_have"),
    [
        ("linnet", ("--all-extras",), set()),
        ("linnet-runtime", (), set()),
        ("linnet-ml", (), set()),
        ("linnet-gateway", (), {"sqlalchemy", "pyarrow"}),
        ("linnet-gateway", ("--all-extras",), {"sqlalchemy", "pyarrow", "kubernetes"}),
        ("linnet-evaluator", ("--all-extras",), set()),
        ("linnet-profiler", (), set()),
        ("linnet-trainer", (), {"tensorflow-cpu", "keras"}),
    ],
)
def test_heavy_packages_stay_where_they_belong(
    member: str, options: tuple[str, ...], may_have: set[str]
) -> None:
    """Of the heavy packages, a member's closure in the lock holds exactly those it is meant to."""
    assert closure(member, *options) & HEAVY == may_have


def test_the_trainer_installs_the_interpreter_that_it_checks_with() -> None:
    """TFLite Micro is there wherever a trainer is, so that no exported model goes unchecked."""
    assert "tflite-micro" in closure("linnet-trainer")
