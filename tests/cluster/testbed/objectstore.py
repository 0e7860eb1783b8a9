"""A real MinIO in the testbed's network, on the node's address, so that pods and tests reach it."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import build, network
from .cluster import Cluster
from .places import NODE_ADDRESS

_PROCESS = "minio"
_PORT = 9000
_CONSOLE_PORT = 9001
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Where the store answers, and the keys that were made for this life of it."""

    endpoint: str
    access_key: str
    secret_key: str


@contextmanager
def started(cluster: Cluster) -> Iterator[ObjectStore]:
    """A MinIO server that runs within the context, empty, with keys of its own.

    Raises:
        TestbedFault: The testbed is not running, or MinIO did not start.
    """
    store = ObjectStore(f"{NODE_ADDRESS}:{_PORT}", secrets.token_hex(8), secrets.token_hex(20))
    data = cluster.places.state / "objects" / secrets.token_hex(4)
    data.mkdir(parents=True)
    command: list[str | Path] = [
        build.executable(build.MINIO, cluster.places.cache),
        "server",
        "--quiet",
        f"--address={store.endpoint}",
        f"--console-address={NODE_ADDRESS}:{_CONSOLE_PORT}",
        data,
    ]
    environment = {
        "MINIO_ROOT_USER": store.access_key,
        "MINIO_ROOT_PASSWORD": store.secret_key,
        "MINIO_UPDATE": "off",
        "HOME": str(data.parent),
    }
    cluster.processes.start(_PROCESS, command, environment)
    try:
        with network.entered(cluster.holder()):
            cluster.processes.await_ready(_PROCESS, lambda: _ready(store), _START_TIMEOUT_S)
        yield store
    finally:
        cluster.processes.stop(_PROCESS)


def _ready(store: ObjectStore) -> bool:
    try:
        with urllib.request.urlopen(f"http://{store.endpoint}/minio/health/ready", timeout=2.0):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
