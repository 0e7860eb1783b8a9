"""Where it can't run, the testbed says so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("", "Go 1.25 or newer on PATH"),
        ("echo go1.19.8", "Go 1.25 or newer on PATH, not go1.19.8"),
        ("echo cannot find GOROOT >&2; exit 2", "Go 1.25 or newer on PATH (cannot find GOROOT)"),
    ],
    ids=["none", "Debian 12", "broken"],
)
def test_without_go_one_line_says_so_and_names_the_way_out(
    tmp_path: Path, program: str, told: str
) -> None:
    """Where no Go can build it, up prints one line that names Go and KUBECONFIG, and fails."""
    if program:
        (tmp_path / "go").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "go").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "testbed", "--name=refused", "up"],
        cwd=Path(__file__).parent,
        env={**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert "KUBECONFIG" in done.stderr


def test_a_name_that_is_no_folder_name_is_refused() -> None:
    """A testbed's name becomes a folder and a control group, so it may hold no slash."""
    done = subprocess.run(
        [sys.executable, "-m", "testbed", "--name=../x", "status"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "expected 1 to 20 of [a-z0-9-]" in done.stderr


@pytest.mark.cluster
@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_a_machine_that_forbids_namespaces_skips_unless_told_not_to(
    required: str, status: int
) -> None:
    """Root without privileges, as on many CI machines, gets one line and no failure."""
    suite = [sys.executable, "-m", "pytest", "-q", "-m", "cluster", "-p", "no:cacheprovider"]
    kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *suite, "tests/cluster"],
        cwd=Path(__file__).parents[2],
        env={**kept, "CI": "1", "LINNET_REQUIRE_TESTBED": required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    said = [line for line in done.stdout.splitlines() if "tests/cluster skipped" in line]
    assert len(said) == 1, done.stdout
    assert "permission for namespaces" in said[0]
    assert "KUBECONFIG" in said[0]
