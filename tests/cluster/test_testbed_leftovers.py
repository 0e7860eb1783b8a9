"""However a testbed ends, it leaves no process, mount, namespace, control group or file behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from testbed.cluster import Cluster
from testbed.network import outside
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

_NAME = "crashes"
_START_S = 120.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A testbed of this test's own, beside the one that the other tests use."""
    found = Cluster.of(_NAME)
    found.down()
    yield found
    found.down()


def _command(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", f"--name={_NAME}", *words],
        cwd=Path(__file__).parent,
        stderr=subprocess.DEVNULL,
    )


def _namespaces(processes: Iterable[str]) -> set[str]:
    """Network and mount namespaces that the processes are in."""
    found = set()
    for process in processes:
        for kind in ("net", "mnt"):
            try:
                found.add(str(Path(f"/proc/{process}/ns/{kind}").readlink()))
            except OSError:
                continue
    return found


def _own_namespaces(cluster: Cluster) -> set[str]:
    """Those of the testbed's processes that this process is not in."""
    members = map(str, cluster.processes.group.members())
    return _namespaces(members) - _namespaces(["self"])


def _leftovers(cluster: Cluster, namespaces: set[str]) -> list[str]:
    found = [f"process {pid}" for pid in cluster.processes.group.members()]
    found += ["control group"] if cluster.processes.group.exists else []
    found += ["files"] if cluster.places.state.exists() else []
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [
        line for line in mounts if "linnet-testbed" in line or str(cluster.places.cache) in line
    ]
    everybody = (one.name for one in Path("/proc").glob("[0-9]*"))
    found += sorted(namespaces & _namespaces(everybody))
    return found


def _rules() -> str:
    """The machine's own iptables rules."""
    return subprocess.run(
        [*outside(), "iptables-save"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "reached",
    [("etcd",), ("kube-apiserver", "containerd"), ("kubelet", "kube-proxy")],
    ids=["etcd", "containerd", "kubelet"],
)
def test_down_clears_up_after_a_start_that_was_killed(
    cluster: Cluster, reached: tuple[str, ...]
) -> None:
    """A start ended by SIGKILL leaves processes behind, and down removes them and all else."""
    rules = _rules()
    starting = _command("up")

    def reached_it() -> bool:
        assert starting.poll() is None, "the start ended before it came that far"
        return all(cluster.processes.group.members(one) for one in reached)

    wait_until(reached_it, _START_S, f"{reached} run")
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    namespaces = _own_namespaces(cluster)
    assert len(namespaces) == 2, "it runs in no network and mount namespace of its own"

    assert _command("down").wait() == 0
    assert _leftovers(cluster, namespaces) == []
    assert _rules() == rules


def test_a_new_start_clears_up_after_parts_that_died(cluster: Cluster) -> None:
    """With its API server, kubelet and holder killed, up makes a Ready cluster again."""
    assert _command("up").wait() == 0
    namespaces = _own_namespaces(cluster)
    for component in ("kube-apiserver", "kubelet", "holder"):
        cluster.processes.group.kill(component)
    assert not cluster.ready()

    assert _command("up").wait() == 0
    assert Cluster.of(_NAME).ready()
    namespaces |= _own_namespaces(cluster)

    assert _command("down").wait() == 0
    assert _leftovers(cluster, namespaces) == []


def test_down_removes_running_pods(cluster: Cluster) -> None:
    """Containers, their mounts and their control groups go with the cluster, and stay gone."""
    assert _command("up").wait() == 0
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stays", "namespace": "default"},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    # The one image that every testbed has; it waits for a signal.
                    "image": "localhost/linnet-testbed-pause:1",
                    "imagePullPolicy": "Never",
                }
            ],
        },
    }
    wait_until(lambda: _accepted(cluster, pod), 30.0, "the pod is accepted")
    words = ["get", "pod", "stays", "--output=jsonpath={.status.phase}"]
    kubectl = [*map(str, cluster.kubectl()), *words]
    wait_until(lambda: cluster.processes.run(kubectl) == "Running", 60.0, "the pod runs")
    namespaces = _own_namespaces(cluster)
    assert len(namespaces) > 2, "the pod has no network of its own"

    assert _command("down").wait() == 0
    assert _leftovers(cluster, namespaces) == []
    assert _command("up").wait() == 0
    assert not cluster.processes.run([*map(str, cluster.kubectl()), "get", "pods", "--output=name"])


def _accepted(cluster: Cluster, pod: dict[str, object]) -> bool:
    """Whether the pod could be made: its service account appears a moment after the namespace."""
    try:
        cluster.apply([pod])
    except Exception as fault:
        if "serviceaccount" not in str(fault):
            raise
        return False
    return True
