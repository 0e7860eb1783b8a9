"""Where uv is: on PATH, or where deploy/setup.sh put it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .faults import TestbedFault


def uv_program() -> str:
    """Give the command that `make setup` used; raises `TestbedFault` where it did not run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    set_up = cache / "linnet" / "uv" / "bin" / "uv"
    program = shutil.which("uv") or (str(set_up) if set_up.exists() else None)
    if program is None:
        raise TestbedFault("uv is not installed: run `make setup`")
    return program


def uv(*words: str) -> str:
    """Run uv and give what it prints."""
    done = subprocess.run([uv_program(), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedFault(f"uv {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def uv_itself() -> Path:
    """Give the path of uv itself; what is on PATH may be a script that finds it."""
    return Path(uv("run", "--no-project", "--offline", "--", "printenv", "UV"))
