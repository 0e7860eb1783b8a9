"""Helm for tests, in the network of the thread that calls it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .faults import TestbedFault

_TIMEOUT_S = 400.0


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with one kubeconfig, for one release's namespace."""

    program: Path
    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run it and return what it printed.

        Args:
            arguments: Command and options.
            values: Values of the chart, where the command takes some.

        Raises:
            TestbedFault: It failed; the message is what it said.
        """
        words = [str(self.program), f"--kubeconfig={self.kubeconfig}"]
        words += [f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(
            [*words, "--values=-"] if values is not None else words,
            # YAML 1.2 holds all of JSON.
            input=json.dumps(values) if values is not None else "",
            env={**os.environ, "HOME": str(self.kubeconfig.parent)},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise TestbedFault(f"helm {arguments[0]}: {done.stderr.strip()[-2000:]}")
        return done.stdout
