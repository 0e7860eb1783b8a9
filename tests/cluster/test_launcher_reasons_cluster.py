"""Each way for a launch to fail ends in its reason, on real Kubernetes with real pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from linnet_gateway.kubernetes.cluster import open_cluster
from linnet_gateway.kubernetes.launcher import KubernetesLauncher
from linnet_gateway.launches.launcher import LaunchStatus, NoRoomYet, ShardState
from linnet_gateway.states import FailureReason as Reason
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import QuotaExceeded
from prometheus_client import CollectorRegistry
from stub_trainer import StubPods, clear_jobs, stub_settings
from testbed.kubectl import Kubectl

from tests.support.launcher_adapters import a_launch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

_SECONDS = 45.0
_NOBODY_HAS = 10**7
MIB = 1024**2


class Place:
    """A namespace, its stub trainers and a launcher."""

    def __init__(self, launcher: KubernetesLauncher, pods: StubPods) -> None:
        self.launcher = launcher
        self.pods = pods

    async def until(self, condition: Callable[[LaunchStatus], bool]) -> LaunchStatus:
        """Wait until the status of the launch `l-one` is as wanted."""
        async with asyncio.timeout(_SECONDS):
            while True:
                status = (await self.launcher.statuses()).get("l-one")
                if status is not None and condition(status):
                    return status
                await asyncio.sleep(0.2)

    async def until_running(self) -> None:
        """Wait until the only shard's trainer runs."""
        async with asyncio.timeout(_SECONDS):
            while await self.pods.running("l-one") != [0]:  # noqa: ASYNC110 - a remote state
                await asyncio.sleep(0.1)


@pytest.fixture
def place(kubectl: Kubectl, python_image: str, restricted_namespace: str) -> Iterator[object]:
    """Give what opens a launcher on a namespace of the test's own, with settings changed."""

    @asynccontextmanager
    async def opened(**changes: object) -> AsyncIterator[Place]:
        settings = stub_settings(kubectl, python_image, restricted_namespace, **changes)
        async with open_cluster(settings, "test", CollectorRegistry(), SystemClock()) as cluster:
            yield Place(cluster.launcher, StubPods(kubectl, restricted_namespace))

    yield opened
    clear_jobs(kubectl, restricted_namespace)


def failed_shard(status: LaunchStatus) -> bool:
    return any(shard.failure is not None for shard in status.shards)


def failed_for_good(status: LaunchStatus) -> bool:
    return any(shard.state is ShardState.FAILED for shard in status.shards)


def failed_launch(status: LaunchStatus) -> bool:
    return status.failure is not None


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (1, Reason.TRAINER_CRASHED),
        (42, Reason.TRAINER_CRASHED),
        (64, Reason.LAUNCH_FAILED),
        (65, Reason.INVALID_DATA),
        (69, Reason.STORE_UNAVAILABLE),
        (75, Reason.EVICTED),
        (78, Reason.LAUNCH_FAILED),
        (143, Reason.EVICTED),
    ],
)
async def test_each_exit_code_has_its_reason(place, exit_code: int, reason: Reason) -> None:
    """The trainer's exit code gives reason, retry or not, and the last line that it printed."""
    async with place() as here:
        await here.launcher.launch(a_launch())
        await here.until_running()
        await here.pods.finish("l-one", 0, exit_code)
        final = exit_code in {64, 65, 78}
        shard = (await here.until(failed_for_good if final else failed_shard)).shards[0]
    assert shard.failure.reason is reason
    assert shard.failure.exit_code == exit_code
    assert shard.failure.log_tail[-1] == f"the last line before exit {exit_code}"
    assert (shard.state is ShardState.FAILED) is final


async def test_too_much_memory_ends_as_out_of_memory(place) -> None:
    """The kernel's kill is told as such, with exit code 137 and the last line."""
    async with place() as here:
        await here.launcher.launch(replace(a_launch(), memory_bytes=64 * MIB))
        await here.until_running()
        await here.pods.finish("l-one", 0, 137)
        failure = (await here.until(failed_shard)).shards[0].failure
    assert failure.reason is Reason.OUT_OF_MEMORY
    assert failure.out_of_memory
    assert failure.exit_code == 137
    assert "67108864 bytes" in failure.message
    assert failure.log_tail[-1] == "the last line before exit 137"


@pytest.mark.usefixtures("own_testbed")  # Elsewhere kubelet looks once a minute.
async def test_a_full_scratch_folder_ends_as_evicted(place) -> None:
    """A trainer that writes more than its /tmp holds is evicted by the node."""
    fill = "open('/tmp/much', 'wb').write(b'x' * (80 << 20)); import time; time.sleep(600)"
    async with place(scratch_bytes=64 * MIB, trainer_command=("python3", "-c", fill)) as here:
        await here.launcher.launch(a_launch())
        failure = (await here.until(failed_shard)).shards[0].failure
    assert failure.reason is Reason.EVICTED
    assert "scratch" in failure.message


@pytest.mark.parametrize(
    ("image", "policy"),
    [("localhost/no-such-image:1", "Never"), ("registry.invalid/none:1", "IfNotPresent")],
)
async def test_an_image_that_is_not_there_ends_as_image_pull(
    place, image: str, policy: str
) -> None:
    """Neither a missing local image nor an unreachable registry keeps a launch waiting for ever."""
    async with place(trainer_image=image, image_pull_policy=policy, image_pull_limit_s=1) as here:
        await here.launcher.launch(a_launch())
        status = await here.until(failed_launch)
        assert not status.ended
        assert status.failure.reason is Reason.IMAGE_PULL
        assert image in status.failure.message


async def test_a_launch_that_no_node_can_take_ends_as_unschedulable(place) -> None:
    """The scheduler's own words say what is missing."""
    async with place(unschedulable_limit_s=1, ceiling={"cpu_millis": _NOBODY_HAS}) as here:
        await here.launcher.launch(replace(a_launch(), cpu_millis=_NOBODY_HAS))
        status = await here.until(failed_launch)
    assert status.failure.reason is Reason.UNSCHEDULABLE
    assert "Insufficient cpu" in status.failure.message


async def test_the_deadline_ends_a_launch(place) -> None:
    """A launch that takes too long is ended by Kubernetes, and told so."""
    async with place() as here:
        await here.launcher.launch(replace(a_launch(), deadline=timedelta(seconds=3)))
        status = await here.until(lambda now: now.ended)
    assert status.failure.reason is Reason.DEADLINE_EXCEEDED
    assert status.shards[0].state is ShardState.FAILED


@pytest.mark.parametrize("cascade", ["background", "foreground"])
async def test_a_job_deleted_by_hand_is_told(
    place, kubectl: Kubectl, restricted_namespace: str, cascade: str
) -> None:
    """However the Job is deleted, the launch ends as LAUNCH_DELETED once its pods are gone."""
    async with place() as here:
        await here.launcher.launch(a_launch())
        await here.until_running()
        job = ["job", "linnet-l-one", f"--namespace={restricted_namespace}"]
        await asyncio.to_thread(kubectl, "delete", *job, f"--cascade={cascade}", "--wait=false")
        status = await here.until(lambda now: now.ended)
        assert status.failure.reason is Reason.LAUNCH_DELETED
        assert await here.pods.running("l-one") == []
        await here.launcher.stop("l-one")
        assert await here.launcher.statuses() == {}


async def test_a_pod_deleted_by_hand_is_replaced(
    place, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """A killed trainer pod comes back as another one; the launch goes on."""
    async with place() as here:
        await here.launcher.launch(a_launch())
        await here.until_running()
        before = (await here.pods.of("l-one"))[0][0]["metadata"]
        name = [before["name"], f"--namespace={restricted_namespace}", "--wait=false"]
        await asyncio.to_thread(kubectl, "delete", "pod", *name)
        async with asyncio.timeout(_SECONDS):
            while True:
                pods = (await here.pods.of("l-one")).get(0, [])
                if [p for p in pods if p["metadata"]["uid"] != before["uid"]]:
                    break
                await asyncio.sleep(0.2)
        await here.until_running()
        await here.pods.finish("l-one", 0, 0)
        status = await here.until(lambda now: now.ended)
    assert status.shards[0].state is ShardState.SUCCEEDED


async def test_a_quota_that_refuses_every_pod_is_told(
    place, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """A namespace quota that has no room ends as QUOTA_EXCEEDED, in the quota's words."""
    quota = ["quota", "small", "--hard=requests.memory=1Mi", f"--namespace={restricted_namespace}"]
    kubectl("create", *quota)
    async with place(quota_limit_s=1) as here:
        await here.launcher.launch(a_launch())
        status = await here.until(failed_launch)
    assert status.failure.reason is Reason.QUOTA_EXCEEDED
    assert "requests.memory" in status.failure.message


async def test_a_quota_on_jobs_refuses_the_launch(
    place, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """Where not even the Job may be made, launching is put off, and fails when that lasts."""
    quota = ["quota", "none", "--hard=count/jobs.batch=0", f"--namespace={restricted_namespace}"]
    kubectl("create", *quota)
    async with place() as here:
        with pytest.raises(NoRoomYet):
            await here.launcher.launch(a_launch())
    async with place(quota_limit_s=0) as here:
        with pytest.raises(QuotaExceeded):
            await here.launcher.launch(a_launch())


async def test_an_ended_launch_is_forgotten_and_left_to_its_ttl(
    place, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """After its records are final an ended Job stays for people, then Kubernetes removes it."""
    async with place(released_ttl_s=5) as here:
        await here.launcher.launch(a_launch())
        await here.until_running()
        await here.pods.finish("l-one", 0, 0)
        await here.until(lambda now: now.ended)
        await here.launcher.stop("l-one", keep_ended=True)
        async with asyncio.timeout(_SECONDS):
            while await here.launcher.statuses():  # noqa: ASYNC110 - a remote state
                await asyncio.sleep(0.1)
        where = f"--namespace={restricted_namespace}"
        assert kubectl.get("job", "linnet-l-one", where)["status"]["succeeded"] == 1
        async with asyncio.timeout(_SECONDS):
            while kubectl.get("jobs,pods,secrets", where)["items"]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def test_a_launch_half_made_is_made_whole(
    place, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """A gateway that died between Job and Secret leaves nothing that runs; a new one goes on."""
    async with place() as here:
        real = here.launcher._make_secret

        async def dies(*_: object) -> None:
            raise RuntimeError("killed here")

        here.launcher._make_secret = dies
        with pytest.raises(RuntimeError):
            await here.launcher.launch(a_launch())
        assert await here.launcher.statuses() == {}
        assert await here.pods.of("l-one") == {}
        here.launcher._make_secret = real
        await here.launcher.launch(a_launch())
        await here.until_running()
    secret = kubectl.get("secret", "linnet-l-one", f"--namespace={restricted_namespace}")
    assert secret["metadata"]["ownerReferences"][0]["kind"] == "Job"


async def test_a_new_gateway_sees_what_runs(place) -> None:
    """A launcher that starts anew finds launches of the one before, with their failures."""
    async with place() as before:
        await before.launcher.launch(a_launch())
        await before.until_running()
        await before.pods.finish("l-one", 0, 65)
        await before.until(lambda now: now.ended)
    async with place() as after:
        status = await after.until(lambda now: now.ended)
    assert status.shards[0].failure.reason is Reason.INVALID_DATA
    assert status.shards[0].failure.log_tail[-1] == "the last line before exit 65"
