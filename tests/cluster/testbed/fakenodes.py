"""Nodes and pods that only exist in the API server, kept by KWOK: scale without containers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import build
from .cluster import Cluster

_PROCESS = "kwok"
_PODS_PER_NODE = "2000"
_READY_TIMEOUT_S = 60.0
# KWOK leaves every other node alone, so the real one stays real.
ANNOTATION = {"kwok.x-k8s.io/node": "fake"}
NODE_SELECTOR = {"type": "kwok"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
MAY_END = "linnet.dev/may-end"
"""Annotation of a lasting pod that is to succeed now."""
_LASTING = Path(__file__).with_name("lasting_pods.yaml")


@contextmanager
def started(cluster: Cluster, count: int, *, lasting: bool = False) -> Iterator[None]:
    """Within the context there are `count` fake nodes whose pods succeed at once.

    A pod gets there by `NODE_SELECTOR` and `TOLERATION`.

    Args:
        cluster: The testbed.
        count: Of nodes.
        lasting: Pods run until they are annotated `MAY_END`, or deleted.

    Raises:
        TestbedFault: The testbed is not running, or a node did not become Ready.
    """
    command: list[str | Path] = [
        build.executable(build.KWOK, cluster.places.cache),
        f"--kubeconfig={cluster.kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        *([f"--config={_LASTING}"] if lasting else []),
    ]
    names = [f"fake-{number}" for number in range(count)]
    cluster.processes.start(_PROCESS, command, {"HOME": str(cluster.places.state)})
    try:
        cluster.apply([_node(name) for name in names])
        for name in names:
            cluster.await_node(name, _PROCESS, _READY_TIMEOUT_S)
        yield
    finally:
        cluster.delete("node", names)
        cluster.processes.stop(_PROCESS)


def _node(name: str) -> dict[str, object]:
    capacity = {
        "cpu": "1000",
        "memory": "1000Gi",
        "ephemeral-storage": "10000Gi",
        "pods": _PODS_PER_NODE,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": ANNOTATION,
            "labels": {**NODE_SELECTOR, "kubernetes.io/hostname": name},
        },
        "spec": {
            "taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
        },
        "status": {"allocatable": capacity, "capacity": capacity},
    }
