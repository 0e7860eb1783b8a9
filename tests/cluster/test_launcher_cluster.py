"""The Kubernetes launcher keeps the launcher contract, on real Kubernetes with real pods."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from linnet_gateway.kubernetes.launcher import KubernetesLauncher, open_launcher
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_runtime.clock import SystemClock
from prometheus_client import CollectorRegistry
from stub_trainer import COMMAND, StubPods
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

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
    test_stop_touches_no_other_launch,
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


@pytest.fixture
def settings(kubectl: Kubectl, python_image: str, restricted_namespace: str) -> KubernetesSettings:
    """Settings for stub trainers in a namespace of the test's own."""

    def account_made() -> bool:
        listed = kubectl.get("serviceaccounts", f"--namespace={restricted_namespace}")
        return bool(listed["items"])

    wait_until(account_made, 30, "the namespace has its default service account")
    return KubernetesSettings(
        kubeconfig=kubectl.kubeconfig,
        namespace=restricted_namespace,
        trainer_image=python_image,
        trainer_command=COMMAND,
        image_pull_policy="Never",
        service_account="default",
        gateway_address="gateway.invalid:1",
        grace_s=1,
    )


@pytest.fixture
async def adapter(kubectl: Kubectl, settings: KubernetesSettings) -> AsyncIterator[ClusterAdapter]:
    """The launcher under test."""
    async with open_launcher(settings, CollectorRegistry(), SystemClock()) as launcher:
        yield ClusterAdapter(launcher, StubPods(kubectl, settings.namespace))
