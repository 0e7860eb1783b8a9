"""The Kubernetes launcher keeps the launcher contract, on real Kubernetes with real pods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from linnet_gateway.kubernetes.cluster import open_cluster
from linnet_gateway.kubernetes.launcher import KubernetesLauncher
from linnet_runtime.clock import SystemClock
from prometheus_client import CollectorRegistry
from stub_trainer import StubPods, clear_jobs, stub_settings
from testbed.kubectl import Kubectl

# The contract's tests run here on the fixture `adapter` below.
from tests.contract.test_launcher import (  # noqa: F401
    test_a_crashed_trainer_is_started_again,
    test_a_hopeless_exit_code_is_final,
    test_a_launch_runs_each_shard_once_and_ends,
    test_another_digest_under_the_same_uid_is_refused,
    test_changes_name_the_launch_that_ended,
    test_more_parallelism_lets_more_shards_run,
    test_no_more_shards_run_than_parallelism,
    test_ping_succeeds_where_launches_can_be_made,
    test_stop_leaves_nothing_running_and_forgets,
    test_stop_removes_a_launch_that_ended_by_itself,
    test_stop_touches_no_other_launch,
    test_the_end_of_one_trainer_leaves_the_others,
    test_the_same_launch_again_starts_nothing,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


class ClusterAdapter:
    """The launcher on a namespace of its own, and its stub trainers."""

    def __init__(self, launcher: KubernetesLauncher, pods: StubPods) -> None:
        self.launcher = launcher
        self._pods = pods

    async def running(self, uid: str) -> list[int]:
        return await self._pods.running(uid)

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        await self._pods.finish(uid, index, exit_code)

    async def name(self, uid: str, index: int) -> str:
        return await self._pods.name(uid, index)

    async def remains(self, uid: str) -> list[str]:
        return await self._pods.remains(uid)


@pytest.fixture
async def adapter(
    kubectl: Kubectl, python_image: str, restricted_namespace: str
) -> AsyncIterator[ClusterAdapter]:
    """The launcher under test, on a namespace of its own."""
    settings = stub_settings(kubectl, python_image, restricted_namespace)
    async with open_cluster(settings, "test", CollectorRegistry(), SystemClock()) as cluster:
        yield ClusterAdapter(cluster.launcher, StubPods(kubectl, settings.namespace))
    clear_jobs(kubectl, settings.namespace)
