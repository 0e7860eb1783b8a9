"""Where the shards of a scale measurement run: on fake nodes of the testbed."""

import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.manifests import build_job
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.launches.launcher import Launch
from linnet_runtime.clock import SystemClock
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.load.fake_pods import FakePods, OnRunning
from tests.cluster.testbed import fakenodes, network
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.places import DEFAULT_NAME

_NAMESPACE = "linnet-scale"
_NODES = 4
_LIMIT_S = 120.0
_MIB = 1024**2


class FakeCluster:
    """Pods on nodes that only exist in the API server; one Kubernetes, real but for what runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._values: dict[str, Any] = {
            "kubeconfig": str(cluster.kubeconfig),
            "namespace": _NAMESPACE,
            "service_account": "default",
            "trainer_image": "localhost/none",
            "gateway_address": "gateway.invalid:1",
            "scratch_bytes": 64 * _MIB,
            "node_selector": fakenodes.NODE_SELECTOR,
            "tolerations": [fakenodes.TOLERATION],
        }
        self._own = KubernetesSettings.model_validate(self._values)
        self._stack = AsyncExitStack()
        self._bare = 0

    async def __aenter__(self) -> Self:
        metadata = {"name": _NAMESPACE}
        self._cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
        self._stack.callback(self._cluster.delete, "namespace", [_NAMESPACE])
        metrics = ApiMetrics(CollectorRegistry())
        self._api = await self._stack.enter_async_context(
            await Api.connect(self._own, metrics, SystemClock())
        )
        self._pods = FakePods(self._api, _NAMESPACE, fakenodes.MAY_END)
        for name, value in self._values.items():
            # What a gateway that is started from here reads.
            text = value if isinstance(value, str) else json.dumps(value)
            os.environ[f"LINNET_KUBERNETES_{name.upper()}"] = text
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def follow(self, on_running: OnRunning) -> None:
        """Call for each pod of the gateway's launches."""

        async def began(launch: str, shard: int) -> None:
            if not launch.startswith("bare"):
                await on_running(launch, shard)

        await self._pods.follow(began)

    async def until_running(self, launch: str, shards: int) -> float:
        """Wait until every shard of a launch runs; give when the last did, monotonic."""
        return await self._pods.until_running(launch, shards)

    async def end(self, launch: str, shard: int) -> None:
        """Let the pod of a shard succeed."""
        await self._pods.end(launch, shard)

    async def bare(self, shards: int) -> float:
        """Make the Job of such a launch without a gateway; give seconds to its last pod running."""
        uid = f"bare-{self._bare}"
        self._bare += 1
        launch = Launch(
            uid=uid,
            project="bench",
            shard_count=shards,
            parallelism=shards,
            token="t" * 120,
            deadline=None,
            cpu_millis=100,
            memory_bytes=64 * _MIB,
            expert=False,
            labels={},
            spec_digest="d" * 64,
        )
        job = json.loads(json.dumps(build_job(launch, self._own)))
        job["spec"] |= {"suspend": False, "parallelism": shards}
        path = f"/apis/batch/v1/namespaces/{_NAMESPACE}/jobs"
        begun = time.monotonic()
        await self._api.create(path, job)
        async with asyncio.timeout(_LIMIT_S):
            taken_s = await self._pods.until_running(uid, shards) - begun
        await self._api.delete(f"{path}/{marks.job_name(uid)}")
        return taken_s

    async def requests(self, page: str) -> float:
        """Give how often the gateway has called the API server, by its own count."""

        def read() -> str:
            with urllib.request.urlopen(page) as answer:
                return str(answer.read().decode())

        families = text_string_to_metric_families(await asyncio.to_thread(read))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "linnet_k8s_requests_total"
        )


@contextmanager
def started() -> Iterator[FakeCluster]:
    """Start the testbed where it is not running, with nodes whose pods last.

    Raises:
        Unsupported: This machine can't run a testbed.
    """
    cluster = Cluster.of(os.environ.get("LINNET_TESTBED", DEFAULT_NAME))
    was_ready = cluster.ready()
    cluster.up(lambda line: print(line, file=sys.stderr))
    try:
        with (
            network.entered(cluster.holder()),
            fakenodes.started(cluster, _NODES, lasting=True),
        ):
            yield FakeCluster(cluster)
    finally:
        if not was_ready:
            cluster.down()
