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
    """Where the store answers, the keys that were made for it, and the folder of its objects."""

    endpoint: str
    access_key: str
    secret_key: str
    data: Path


@contextmanager
def started(cluster: Cluster) -> Iterator[ObjectStore]:
    """A MinIO server that runs within the context, empty, with keys of its own.

    Raises:
        TestbedFault: The testbed is not running, or MinIO did not start.
    """
    data = cluster.places.state / "objects" / secrets.token_hex(4)
    data.mkdir(parents=True)
    store = ObjectStore(
        f"{NODE_ADDRESS}:{_PORT}", secrets.token_hex(8), secrets.token_hex(20), data
    )
    try:
        start(cluster, store)
        yield store
    finally:
        cluster.processes.stop(_PROCESS)


def kill(cluster: Cluster) -> None:
    """End the server without a warning; its objects stay."""
    cluster.processes.group.kill(_PROCESS)
    cluster.processes.stop(_PROCESS)


def start(cluster: Cluster, store: ObjectStore) -> None:
    """Start the server on the store's objects and return when it answers.

    Raises:
        TestbedFault: The testbed is not running, or MinIO did not start.
    """
    command: list[str | Path] = [
        build.executable(build.MINIO, cluster.places.cache),
        "server",
        "--quiet",
        f"--address={store.endpoint}",
        f"--console-address={NODE_ADDRESS}:{_CONSOLE_PORT}",
        store.data,
    ]
    environment = {
        "MINIO_ROOT_USER": store.access_key,
        "MINIO_ROOT_PASSWORD": store.secret_key,
        "MINIO_UPDATE": "off",
        "HOME": str(store.data.parent),
    }
    cluster.processes.start(_PROCESS, command, environment)
    with network.entered(cluster.holder()):
        cluster.processes.await_ready(_PROCESS, lambda: _ready(store), _START_TIMEOUT_S)


def _ready(store: ObjectStore) -> bool:
    try:
        with urllib.request.urlopen(f"http://{store.endpoint}/minio/health/ready", timeout=2.0):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
