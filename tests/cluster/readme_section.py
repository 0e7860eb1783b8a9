"""Commands of a section of README.md, as a reader types them into one terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]
_SECTION = re.compile(r"^## (.+?)$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a terminal does: background commands end with it, and the reader stops at a failure.
_TERMINAL = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
_DOCKER = '#!/bin/sh\nexec "{python}" -m testbed.dockercommand "$@"\n'


def blocks(title: str) -> list[str]:
    """Give the shell blocks of a section.

    Args:
        title: Of the section.
    """
    text = (_REPOSITORY / "README.md").read_text()
    found = {one[1]: one[2] for one in _SECTION.finditer(text)}
    return _BLOCK.findall(found[title])


def follow(script: str, scratch: Path, kubeconfig: Path, programs: Sequence[Path]) -> str:
    """Run blocks in a shell at the repository's root and give what they printed.

    Args:
        script: The blocks, word for word.
        scratch: A folder that is the reader's home.
        kubeconfig: His cluster.
        programs: Folders with kubectl and helm.

    Raises:
        AssertionError: A command failed; shows everything that was printed.
    """
    tools = scratch / "bin"
    tools.mkdir(exist_ok=True)
    docker = tools / "docker"
    docker.write_text(_DOCKER.format(python=sys.executable))
    docker.chmod(0o755)
    # The reader has a cluster's programs; what the sources bring he takes where README says.
    own = str(Path(sys.executable).parent)
    found = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != own]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LINNET_")},
        "PATH": os.pathsep.join([*map(str, [tools, *programs]), *found]),
        "PYTHONPATH": str(Path(__file__).parent),
        "KUBECONFIG": str(kubeconfig),
        "LINNET_HOME": str(scratch / "linnet"),
        # The cache with what was built stays where it is.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
    }
    done = subprocess.run(
        ["bash", "-c", _TERMINAL + script],
        cwd=_REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
