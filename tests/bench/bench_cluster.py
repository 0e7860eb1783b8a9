"""Linnet on the testbed: how soon a run begins and ends, and the launcher's memory over 2,000 Jobs.

Runs where the testbed runs (Linux, root, Go); starts it, and stops it if it started it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from linnet.v1 import run_pb2
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.cluster import Cluster as Connection
from linnet_gateway.kubernetes.cluster import open_cluster
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings, Toleration
from linnet_gateway.launches.launcher import Launch
from linnet_runtime.clock import SystemClock
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cluster" / "end_to_end"))

from installation import installed
from product import Product, Release
from testbed import build, fakenodes, network, objectstore
from testbed.cluster import Cluster
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.places import DEFAULT_NAME
from testbed.serviceimages import IMAGES, ServiceImages, small_values

RELEASE = Release("bench", "linnet-bench-release", "linnet-bench-trainers")
FIRST_LINE_S = 1.5
FIRST_LINE_ROUNDS = 5
SUCCEEDED_S = 20.0
SUCCEEDED_ROUNDS = 3
_STAMPED = ["sh", "-c", "date +%s.%N; exec linnet-trainer run"]
NAMESPACE = "linnet-bench"
JOBS = 2_000
ALIVE_AT_ONCE = 100
SETTLED_AFTER = 1_000
"""By then ended Jobs are removed as fast as they come: no more are alive at once later."""
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
        await asyncio.gather(*(connection.launcher.stop(uid, keep_ended=True) for uid in ended))
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
    settings = _settings(cluster.kubeconfig, NAMESPACE)
    try:
        async with open_cluster(settings, "bench", CollectorRegistry(), SystemClock()) as found:
            yield found
    finally:
        cluster.delete("namespace", [NAMESPACE])


def _settings(kubeconfig: Path, namespace: str) -> KubernetesSettings:
    return KubernetesSettings.model_validate(
        {
            "kubeconfig": kubeconfig,
            "namespace": namespace,
            "service_account": "default",
            "trainer_image": "localhost/none",
            "gateway_address": "gateway.invalid:1",
            "scratch_bytes": 64 * 1024**2,
            "released_ttl_s": 10,
            # As many as it begins with: connections, of 128 KiB each, are not what is measured.
            "inflight_max": 32,
            "node_selector": fakenodes.NODE_SELECTOR,
            "tolerations": (Toleration.model_validate(dict(fakenodes.TOLERATION)),),
        }
    )


async def measure_launcher(cluster: Cluster) -> None:
    """Print the figures of the launcher on fake nodes."""
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


def first_lines(product: Product) -> tuple[float, float, Mapping[str, Any]]:
    """Give medians in seconds: from submit to the trainer's process, and on to its own first line.

    The trainer's command is preceded by one that prints the time: what comes between the two lines
    is the trainer's start and imports. Each submit waits until the pod before it has ended, since
    the node has room for one trainer. Beside the medians comes the last of the trainer's pods.
    """
    product.set_gateway(TRAINER_COMMAND=json.dumps(_STAMPED))
    begun, imported = [], []
    for _ in range(FIRST_LINE_ROUNDS):
        product.until_no_trainer_lives()
        submitted = time.time()
        run = product.start(epochs=1, cpu_millis=1_000)
        product.until_ended(run)
        pods = [one for one in product.trainers() if one["kind"] == "Pod"]
        newest = max(pods, key=lambda one: str(one["metadata"]["creationTimestamp"]))
        words = [newest["metadata"]["name"], f"--namespace={RELEASE.runs}", "--timestamps"]
        lines = [line.partition(" ") for line in product.kubectl("logs", *words).splitlines()]
        process = float(lines[0][2])
        begun.append(process - submitted)
        imported.append(_seconds(lines[1][0]) - process)
    product.set_gateway(TRAINER_COMMAND="")
    return statistics.median(begun), statistics.median(imported), newest


async def bare_jobs(product: Product, trainer: Mapping[str, Any]) -> float:
    """Give the median seconds from the making of a Job to its process: Kubernetes' own part.

    Args:
        product: Whose namespace of trainers the Jobs are made in.
        trainer: The pod of an ended launch; those of the Jobs are like it but for the command.
    """
    (container,) = trainer["spec"]["containers"]
    token = {"name": "launch", "secret": {"secretName": "bare"}}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": trainer["spec"]["securityContext"],
        "containers": [{**container, "command": ["date", "+%s.%N"]}],
        "volumes": [
            token if one["name"] == "launch" else one for one in trainer["spec"]["volumes"]
        ],
    }
    where = f"--namespace={RELEASE.runs}"
    product.kubectl("create", "secret", "generic", "bare", "--from-literal=token=none", where)
    settings = _settings(product.kubectl.kubeconfig, RELEASE.runs)
    taken = []
    async with await Api.connect(settings, ApiMetrics(CollectorRegistry()), SystemClock()) as api:
        for number in range(FIRST_LINE_ROUNDS):
            name = f"bare-{number}"
            job = {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": name, "namespace": RELEASE.runs},
                "spec": {"completionMode": "Indexed", "completions": 1, "template": {"spec": spec}},
            }
            product.until_no_trainer_lives()
            made = time.time()
            await api.create(f"/apis/batch/v1/namespaces/{RELEASE.runs}/jobs", job)
            product.kubectl("wait", f"job/{name}", "--for=condition=Complete", where)
            taken.append(float(product.kubectl("logs", f"job/{name}", where)) - made)
    return statistics.median(taken)


def _seconds(stamp: str) -> float:
    # kubelet writes nanoseconds, of which Python reads the first six digits.
    return dt.datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()


def successes(product: Product) -> float:
    """Give the median seconds from submit to SUCCEEDED of the dense preset over 30 cycles."""
    taken = []
    for _ in range(SUCCEEDED_ROUNDS):
        began = time.monotonic()
        ended = product.until_ended(product.start(epochs=30, cpu_millis=1_000))
        taken.append(time.monotonic() - began)
        if ended.state != run_pb2.RUN_STATE_SUCCEEDED:
            raise RuntimeError(f"the run did not succeed: {ended}")
    return statistics.median(taken)


def measure_product(cluster: Cluster) -> None:
    """Install the chart, print the figures of runs, uninstall."""
    services = ServiceImages.of(cluster)
    values = small_values([_provided(services, cluster, image) for image in IMAGES])
    kubectl = Kubectl(
        build.folder(build.KUBERNETES, cluster.places.cache) / "kubectl", cluster.kubeconfig
    )
    program = build.executable(build.HELM, cluster.places.cache)
    helm = Helm(program, cluster.kubeconfig, RELEASE.namespace)
    with (
        objectstore.started(cluster) as store,
        installed(kubectl, helm, RELEASE, store, values) as product,
    ):
        product.push_dataset()
        # The first run of all warms evaluator and profiler up.
        product.until_ended(product.start(epochs=1))
        seconds = successes(product)
        goal = f"<= {SUCCEEDED_S}"
        tell("submit_to_succeeded", seconds, "s", goal, ok=seconds <= SUCCEEDED_S)
        process_s, imports_s, trainer = first_lines(product)
        goal = f"<= {FIRST_LINE_S} before its imports"
        tell("submit_to_trainer_process", process_s, "s", goal, ok=process_s <= FIRST_LINE_S)
        tell("trainer_process_to_first_line", imports_s, "s", "told only", ok=True)
        bare_s = asyncio.run(bare_jobs(product, trainer))
        tell("bare_job_to_process", bare_s, "s", "told only", ok=True)


def _provided(services: ServiceImages, cluster: Cluster, image: str) -> str:
    services.provide(cluster, image)
    return image


def main() -> None:
    """Start the testbed where it is not running, and measure."""
    cluster = Cluster.of(os.environ.get("LINNET_TESTBED", DEFAULT_NAME))
    was_ready = cluster.ready()
    cluster.up(lambda line: print(line, file=sys.stderr))
    try:
        with network.entered(cluster.holder()):
            # First what needs no image: it tells its figures within two minutes.
            with fakenodes.started(cluster, count=NODES):
                asyncio.run(measure_launcher(cluster))
            measure_product(cluster)
    finally:
        if not was_ready:
            cluster.down()


if __name__ == "__main__":
    main()
