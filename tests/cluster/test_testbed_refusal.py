"""Where it can't run, the testbed says so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_go_one_line_says_so_and_names_the_way_out(tmp_path: Path) -> None:
    """With no Go on PATH, up prints one line that names Go and KUBECONFIG, and fails."""
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
    assert "Go 1.24" in done.stderr
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
