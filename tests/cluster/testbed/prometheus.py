"""A real Prometheus in the testbed's network, with a configuration that the test writes."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import network, requirements
from .cluster import Cluster
from .places import NODE_ADDRESS

_PROCESS = "prometheus"
_PORT = 9090
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Asks a running Prometheus; the asking thread must be in the testbed's network."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of `expression`: one entry a series, with `metric` and `value`."""
        words = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.address}/api/v1/query?{words}"
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def started(cluster: Cluster, configuration: Mapping[str, object]) -> Iterator[Prometheus]:
    """A Prometheus that runs within the context with `configuration` (its prometheus.yml).

    Raises:
        TestbedFault: The testbed is not running, or Prometheus did not start.
    """
    requirements.install(requirements.PROMETHEUS_PACKAGES)
    folder = cluster.places.state / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    # YAML 1.2 holds all of JSON.
    (folder / "prometheus.yml").write_text(json.dumps(configuration, indent=2))
    address = f"{NODE_ADDRESS}:{_PORT}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    cluster.processes.start(_PROCESS, command)
    try:
        with network.entered(cluster.holder()):
            cluster.processes.await_ready(_PROCESS, lambda: _ready(address), _START_TIMEOUT_S)
        yield Prometheus(address)
    finally:
        cluster.processes.stop(_PROCESS)


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2.0):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
