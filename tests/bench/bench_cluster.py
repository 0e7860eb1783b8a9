"""The Kubernetes launcher at scale on the testbed: memory of the watch over 2,000 Jobs on KWOK.

Runs where the testbed runs (Linux, root, Go); starts it, and stops it if it started it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from linnet_gateway.kubernetes.cluster import Cluster as Connection
from linnet_gateway.kubernetes.cluster import open_cluster
from linnet_gateway.kubernetes.settings import KubernetesSettings, Toleration
from linnet_gateway.launcher import Launch
from linnet_runtime.clock import SystemClock
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from testbed import build, fakenodes, network
from testbed.cluster import Cluster
from testbed.kubectl import Kubectl
from testbed.places import DEFAULT_NAME

NAMESPACE = "linnet-bench"
JOBS = 2_000
ALIVE_AT_ONCE = 100
SETTLED_AFTER = 500
GROWTH_BYTES = 8 * 1024**2
LAUNCHES_PER_S = 50.0
NODES = 2
LIMIT_S = 600.0
_PAGE_BYTES = 4096


def tell(name: str, value: float, unit: str, goal: str, *, ok: bool) -> None:
    """Print one figure."""
    line = {"name": name, "value": round(value, 4), "unit": unit, "goal": goal, "ok": ok}
    print(json.dumps(line), flush=True)


def resident_bytes() -> int:
    """Give this process's resident memory after a collection."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def a_launch(number: int) -> Launch:
    """A launch of one shard for a fake node."""
    return Launch(
        uid=f"bench-{number}",
        project="bench",
        shard_count=1,
        parallelism=1,
        token="t" * 120,
        deadline=None,
        cpu_millis=100,
        memory_bytes=64 * 1024**2,
        expert=False,
        labels={},
        spec_digest="d" * 64,
    )


async def burst(connection: Connection, first: int, count: int) -> float:
    """Launch many at once and give launches a second."""
    began = time.monotonic()
    await asyncio.gather(
        *(connection.launcher.launch(a_launch(first + number)) for number in range(count))
    )
    return count / (time.monotonic() - began)


async def churn(connection: Connection) -> dict[int, int]:
    """Launch Jobs and forget them as they end; give resident bytes by Jobs done."""
    done, next_up = 0, 0
    memory: dict[int, int] = {}
    while done < JOBS:
        statuses = await connection.launcher.statuses()
        ended = [uid for uid, status in statuses.items() if status.ended]
        await asyncio.gather(*(connection.launcher.stop(uid) for uid in ended))
        for number in range(len(ended)):
            if (done + number + 1) % SETTLED_AFTER == 0:
                memory[done + number + 1] = resident_bytes()
        done += len(ended)
        free = min(ALIVE_AT_ONCE - (len(statuses) - len(ended)), JOBS - next_up)
        if free > 0:
            await burst(connection, next_up, free)
            next_up += free
        await asyncio.sleep(0.05)
    return memory


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Connection]:
    """A launcher for fake nodes, in a namespace of its own."""
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    settings = KubernetesSettings.model_validate(
        {
            "kubeconfig": cluster.kubeconfig,
            "namespace": NAMESPACE,
            "service_account": "default",
            "trainer_image": "localhost/none",
            "gateway_address": "gateway.invalid:1",
            "scratch_bytes": 64 * 1024**2,
            "released_ttl_s": 10,
            "node_selector": fakenodes.NODE_SELECTOR,
            "tolerations": (Toleration.model_validate(_toleration()),),
        }
    )
    try:
        async with open_cluster(settings, "bench", CollectorRegistry(), SystemClock()) as found:
            yield found
    finally:
        cluster.delete("namespace", [NAMESPACE])


def _toleration() -> dict[str, str]:
    return dict(fakenodes.TOLERATION)


def make_room(cluster: Cluster, nodes: int) -> None:
    """Give fake nodes the disk that trainers ask for."""
    kubectl = Kubectl(
        build.folder(build.KUBERNETES, cluster.places.cache) / "kubectl", cluster.kubeconfig
    )
    room = {"ephemeral-storage": "1000Gi"}
    patch = json.dumps({"status": {"capacity": room, "allocatable": room}})
    for number in range(nodes):
        name = f"fake-{number}"
        kubectl("patch", "node", name, "--subresource=status", "--type=merge", f"--patch={patch}")


async def measure(cluster: Cluster) -> None:
    """Print the figures."""
    async with asyncio.timeout(LIMIT_S), connected(cluster) as connection:
        began = time.monotonic()
        memory = await churn(connection)
        seconds = time.monotonic() - began
        growth_bytes = memory[JOBS] - memory[SETTLED_AFTER]
        goal = f"<= {GROWTH_BYTES} from {SETTLED_AFTER} to {JOBS} Jobs"
        tell("watch_memory_growth", growth_bytes, "byte", goal, ok=growth_bytes <= GROWTH_BYTES)
        tell("watch_memory", memory[JOBS], "byte", "told only", ok=True)
        tell("jobs_from_launch_to_forgotten", JOBS / seconds, "job/s", "told only", ok=True)
        rate = await burst(connection, JOBS, ALIVE_AT_ONCE)
        tell("launches", rate, "launch/s", f">= {LAUNCHES_PER_S}", ok=rate >= LAUNCHES_PER_S)


def main() -> None:
    """Start the testbed where it is not running, and measure."""
    cluster = Cluster.of(os.environ.get("LINNET_TESTBED", DEFAULT_NAME))
    was_ready = cluster.ready()
    cluster.up(lambda line: print(line, file=sys.stderr))
    try:
        with network.entered(cluster.holder()), fakenodes.started(cluster, count=NODES):
            make_room(cluster, NODES)
            asyncio.run(measure(cluster))
    finally:
        if not was_ready:
            cluster.down()


if __name__ == "__main__":
    main()
