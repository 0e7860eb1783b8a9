"""What outlives gateways that launch on Kubernetes: the same, with a cluster over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import kubernetes.aio.client
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.jobstatus import has_ended, is_stopping
from linnet_gateway.kubernetes.launcher import KubernetesLauncher
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.requests import Request
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.watch import WatchMetrics
from prometheus_client import CollectorRegistry

from tests.fakes.faults import Faults
from tests.fakes.job_cluster import JobCluster
from tests.fakes.lasting_world import World

if TYPE_CHECKING:
    from linnet_runtime.clock import Clock

    from tests.fakes.killable import Gateway

SETTINGS = KubernetesSettings.model_validate(
    {
        "trainer_image": "trainer",
        "gateway_address": "gateway:1",
        # Without a watch each look is a list, so that what a step sees does not hang on time.
        "watch_silence_s": 0.1,
        "retry_limit_s": 1.0,
    }
)


class DyingLauncher(KubernetesLauncher):
    """The launcher of one life of a gateway; it may die before or after each request."""

    def __init__(self, url: str, faults: Faults, clock: Clock) -> None:
        configuration = kubernetes.aio.client.Configuration(host=url)
        client = kubernetes.aio.client.ApiClient(configuration)
        self._own_api = Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), clock)
        super().__init__(self._own_api, SETTINGS, WatchMetrics(CollectorRegistry()), clock)
        send = self._own_api._calls.send

        async def killable(
            request: Request, limits: aiohttp.ClientTimeout
        ) -> aiohttp.ClientResponse:
            if request.method == "GET":
                faults.live()
                return await send(request, limits)
            call = f"{request.method} {request.resource}"
            faults.call_point(f"before {call}")
            response = await send(request, limits)
            await response.read()
            faults.call_point(f"after {call}")
            if faults.loses_call():
                raise aiohttp.ServerDisconnectedError
            return response

        self._own_api._calls.send = killable  # type: ignore[method-assign]  # a fault, not a mock

    async def close(self) -> None:
        """Close every connection."""
        await self._own_api.close()


class ClusterWorld(World):
    """A world whose launcher is the real one, on a cluster."""

    launcher: JobCluster  # type: ignore[assignment]  # has what the world needs of it

    def __init__(self, folder: Path, seed: int, cluster: JobCluster, url: str = "") -> None:
        super().__init__(folder, seed, url)
        self.launcher = cluster
        self.fails: frozenset[int] = frozenset()
        self._pods: dict[tuple[str, int], str] = {}

    def launcher_of(self, faults: Faults) -> DyingLauncher:  # type: ignore[override]
        return DyingLauncher(self.launcher.url, faults, self.clock)

    def token_of(self, uid: str) -> str:
        return self.launcher.token(uid)

    def name_of(self, uid: str, index: int) -> str:
        return self.launcher.uid_of(uid, index)

    def crash_of(self, run: str, attempt: int) -> int | None:
        # Runs of the batch are known by their places, which end their names.
        if "/runs/batch-" in run and int(run.rsplit("-", 1)[1]) in self.fails:
            return 1
        return super().crash_of(run, attempt)

    async def end_trainer(self, uid: str, index: int, code: int) -> None:
        await self.launcher.finish(uid, index, code)

    async def turn(self) -> None:
        await self.launcher.tick()

    async def step_trainers(self, gateway: Gateway) -> None:
        # A trainer lives as long as its pod, whatever comes in its place.
        for place in list(self.trainers):
            if self._pods.get(place) != self.launcher.pod_of(*place):
                del self.trainers[place]
        for uid, shards in self.launcher.shards.items():
            self._pods |= {(uid, s.index): self.launcher.pod_of(uid, s.index) for s in shards}
        await super().step_trainers(gateway)

    async def check_cluster(self) -> None:
        """Hold that nothing is left of what was launched, now or when its time to live is over."""
        for job in self.launcher.of("jobs"):
            # What ended by itself is shown for a while.
            assert has_ended(job), job
            assert is_stopping(job), job
            assert job["spec"]["ttlSecondsAfterFinished"] <= SETTINGS.released_ttl_s
        names = {job["metadata"]["name"] for job in self.launcher.of("jobs")}
        assert {secret["metadata"]["name"] for secret in self.launcher.of("secrets")} <= names
        launches = {job["metadata"]["labels"][marks.LAUNCH] for job in self.launcher.of("jobs")}
        assert {pod["metadata"]["labels"][marks.LAUNCH] for pod in self.launcher.of("pods")} <= (
            launches
        )
        self.clock.move(SETTINGS.released_ttl_s)
        await self.launcher.tick()
        assert [self.launcher.of(kind) for kind in ("jobs", "secrets", "pods")] == [[], [], []]
