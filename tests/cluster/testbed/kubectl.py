"""kubectl for tests, in the network of the thread that calls it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .faults import TestbedFault

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig."""

    program: Path
    kubeconfig: Path

    def words(self, *arguments: str) -> list[str]:
        """The whole command line, for a process that the caller runs."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it and return what it printed.

        Raises:
            TestbedFault: It failed; the message is what it said.
        """
        done = subprocess.run(
            self.words(*arguments),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise TestbedFault(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifest: Mapping[str, object]) -> None:
        """Create or update one object."""
        self("apply", "--filename=-", stdin=json.dumps(manifest))

    def get(self, *arguments: str) -> dict[str, Any]:
        """The object, or the list of objects, that `kubectl get` finds."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found
