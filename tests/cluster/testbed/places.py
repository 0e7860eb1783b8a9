"""Where a testbed keeps its files, and the addresses inside its network namespace."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .faults import TestbedFault

DEFAULT_NAME = "main"
NODE_NAME = "linnet-node"
NODE_ADDRESS = "10.77.0.2"
NODE_NETWORK_BITS = 24
NODE_GATEWAY = "10.77.0.1"
POD_CIDR = "10.78.0.0/16"
SERVICE_CIDR = "10.79.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.79.0.1"
CLUSTER_DOMAIN = "cluster.local"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one testbed.

    Attributes:
        name: Tells testbeds of one machine apart; each has namespaces and files of its own.
        state: Everything that one life of the cluster writes; gone after it was stopped.
        cache: What outlives it: builds, images.
    """

    name: str
    state: Path
    cache: Path

    @classmethod
    def of(cls, name: str, environment: Mapping[str, str] = os.environ) -> Places:
        """The folders of the testbed `name`.

        Raises:
            TestbedFault: The name is not 1 to 20 of a-z, 0-9 and dash, or begins with no letter.
        """
        if not _NAME.fullmatch(name):
            raise TestbedFault(
                f"name: expected 1 to 20 of [a-z0-9-] beginning with a letter, got {name!r}"
            )
        home_cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return cls(
            name=name,
            state=Path("/var/lib/linnet-testbed") / name,
            cache=Path(home_cache) / "linnet" / "testbed",
        )

    @property
    def control_group(self) -> str:
        """Name of the control group that holds every process of this testbed."""
        return f"linnet-testbed-{self.name}"

    @property
    def lock(self) -> Path:
        """Held while this testbed starts or stops."""
        return self.cache / f"{self.name}.lock"

    @property
    def containerd_root(self) -> Path:
        """Image content and snapshots: kept between lives, so that an image is imported once."""
        return self.cache / "containerd" / self.name

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.state / "containerd.sock"

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator."""
        return self.state / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.state / "log"

    @property
    def volumes(self) -> Path:
        """One folder a persistent volume."""
        return self.state / "volumes"
