"""Client, watch and lease of the Kubernetes adapter against an API server that misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import kubernetes.aio.client
import pytest
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.answers import ApiError
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.inflight import InFlight
from linnet_gateway.kubernetes.lease import KubernetesLease, LeaseTimes, held_lease
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.watch import Change, JobWatch, WatchMetrics
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import Unavailable
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import FakeApiServer, serving

_JOBS = "/apis/batch/v1/namespaces/linnet-runs/jobs"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with serving() as made:
        yield made


def settings_of(**changes: Any) -> KubernetesSettings:
    return KubernetesSettings(
        trainer_image="trainer", gateway_address="gateway:1", retry_limit_s=5, **changes
    )


def api_of(server: FakeApiServer, registry: CollectorRegistry | None = None, **changes: Any) -> Api:
    configuration = kubernetes.aio.client.Configuration(host=server.url)
    client = kubernetes.aio.client.ApiClient(configuration)
    metrics = ApiMetrics(registry or CollectorRegistry())
    return Api(client, settings_of(**changes), metrics, SystemClock())


def a_job(uid: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": marks.job_name(uid), "labels": {marks.LAUNCH: uid}},
        "spec": {"completions": 1, "parallelism": 1, "template": {"large": "x" * 100_000}},
        "status": status,
    }


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look again and again until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(
    server: FakeApiServer, registry: CollectorRegistry | None = None, **changes: Any
) -> AsyncIterator[JobWatch]:
    """A watch that runs against the server and has listed."""
    async with api_of(server, **changes) as api:
        metrics = WatchMetrics(registry or CollectorRegistry())
        heard: list[Change] = []
        watch = JobWatch(api, settings_of(**changes), metrics, SystemClock(), heard.append)
        task = asyncio.create_task(watch.run())
        await until(lambda: server.watches() > 0)
        try:
            yield watch
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_busy_server_is_asked_again_when_it_says(server: FakeApiServer) -> None:
    """429 is no error: the call comes again after Retry-After, and the limit is halved."""
    server.busy, server.retry_after_s = 1, 0.5
    async with api_of(server) as api:
        before = api.inflight.limit
        began = time.monotonic()
        await api.list(_JOBS)
        assert time.monotonic() - began >= 0.5
        assert api.inflight.limit == before // 2


async def test_a_server_that_stays_busy_is_unavailable(server: FakeApiServer) -> None:
    """After the retry limit the caller is told, with the time that the server asks for."""
    server.busy, server.retry_after_s = 1000, 30
    async with api_of(server) as api:
        with pytest.raises(Unavailable) as refused:
            await api.list(_JOBS)
    assert refused.value.retry_after_s == 30
    assert refused.value.reason == "KUBERNETES_UNAVAILABLE"


async def test_a_server_that_is_gone_is_unavailable(server: FakeApiServer) -> None:
    """No connection at all ends as Unavailable too, and is counted as code 0."""
    server.url = "http://127.0.0.1:1"
    registry = CollectorRegistry()
    async with api_of(server, registry) as api:
        with pytest.raises(Unavailable):
            await api.get(f"{_JOBS}/x")
    labels = {"verb": "get", "resource": "jobs", "code": "0"}
    assert (registry.get_sample_value("linnet_k8s_requests_total", labels) or 0) > 1


async def test_a_refusal_is_not_asked_again(server: FakeApiServer) -> None:
    """404 is an answer: one call, and the API's own words."""
    async with api_of(server) as api:
        with pytest.raises(ApiError) as refused:
            await api.get(f"{_JOBS}/nothing")
    assert refused.value.status == 404
    assert len(server.calls) == 1


async def test_no_more_calls_are_under_way_than_allowed(server: FakeApiServer) -> None:
    """A hundred calls at once reach the server eight at a time."""
    server.delay_s = 0.01
    async with api_of(server, inflight_max=8) as api:
        await asyncio.gather(*(api.list(_JOBS) for _ in range(100)))
    assert server.most_at_once == 8


async def test_the_limit_grows_slowly_and_halves_once_a_round() -> None:
    """One more place a round of good calls; one halving however many calls of it failed."""
    inflight = InFlight(32, 128)
    for _ in range(32):
        inflight.went_well()
    assert inflight.limit in {32, 33}
    for _ in range(100 * 128):
        inflight.went_well()
    assert inflight.limit == 128
    async with inflight.slot() as first, inflight.slot() as second:
        inflight.slow_down(first)
        inflight.slow_down(second)
    assert inflight.limit == 64
    for _ in range(10):
        async with inflight.slot() as number:
            inflight.slow_down(number)
    assert inflight.limit == 1


async def test_the_watch_keeps_a_slim_copy(server: FakeApiServer) -> None:
    """New, changed and deleted Jobs arrive; of each only what its status needs is kept."""
    await server.put("/jobs/linnet-a", a_job("a"))
    async with watching(server) as watch:
        await server.put("/jobs/linnet-b", a_job("b"))
        await until(lambda: set(watch.jobs) == {"a", "b"})
        assert "template" not in watch.jobs["b"]["spec"]
        await server.put("/jobs/linnet-b", a_job("b", active=1))
        await until(lambda: watch.jobs["b"]["status"] == {"active": 1})
        await server.remove("/jobs/linnet-a")
        await until(lambda: set(watch.jobs) == {"b"})
    assert server.lists() == 1


async def test_a_forgotten_history_leads_to_a_new_list(server: FakeApiServer) -> None:
    """After 410 nothing is missed: deletions that nobody told of are found by listing."""
    await server.put("/jobs/linnet-a", a_job("a"))
    registry = CollectorRegistry()
    async with watching(server, registry, watch_s=1) as watch:
        server._objects.pop("/jobs/linnet-a")
        await server.compact()
        await until(lambda: not watch.jobs)
    expired = {"kind": "job", "cause": "expired"}
    assert registry.get_sample_value("linnet_watch_restarts_total", expired) == 1
    assert server.lists() == 2


async def test_a_silent_watch_is_opened_again(server: FakeApiServer) -> None:
    """A connection that stays open and says nothing is given up, and what came since is read."""
    server.silent = True
    async with watching(server, watch_silence_s=0.3) as watch:
        await server.put("/jobs/linnet-a", a_job("a"))
        assert watch.jobs == {}
        server.silent = False
        await until(lambda: set(watch.jobs) == {"a"})
    assert server.lists() == 1


@pytest.mark.parametrize(
    ("garbage", "cause"),
    [
        (b"<html>502 Bad Gateway</html>\n", "broken"),
        (b"[]\n", "broken"),
        (b'{"type": "ADDED", "object": {"metadata": null}}\n', "failed"),
        (b'{"type": "MODIFIED"}\n', "failed"),
    ],
)
async def test_nothing_that_a_watch_says_ends_it(
    server: FakeApiServer, garbage: bytes, cause: str
) -> None:
    """A proxy's page or an object without its fields is counted, and the watch opened again."""
    server.garbage = garbage
    registry = CollectorRegistry()
    async with watching(server, registry) as watch:
        await server.put("/jobs/linnet-a", a_job("a"))
        await until(lambda: set(watch.jobs) == {"a"})
        await until(lambda: server.watches() == 2)
    labels = {"kind": "job", "cause": cause}
    assert registry.get_sample_value("linnet_watch_restarts_total", labels) == 1


async def test_an_answer_that_is_no_json_is_unavailable(server: FakeApiServer) -> None:
    """A page in the API's place, such as a captive proxy's, is no crash of the caller."""
    server.page = b"<html>please log in</html>"
    async with api_of(server) as api:
        with pytest.raises(Unavailable, match="please log in"):
            await api.list(_JOBS)


async def test_bookmarks_keep_a_quiet_watch_alive(server: FakeApiServer) -> None:
    """A watch that gets bookmarks is not silent, and goes on from the bookmark's version."""
    async with watching(server, watch_silence_s=2.0) as watch:
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            await asyncio.sleep(0.1)
            await server.bookmark()
        assert watch.fresh
        assert server.watches() == 1


async def test_everything_is_listed_from_time_to_time(server: FakeApiServer) -> None:
    """Even a watch that works is checked against a list."""
    async with watching(server, relist_s=1):
        await until(lambda: server.lists() >= 2)


async def test_an_old_answer_does_not_replace_a_newer_one(server: FakeApiServer) -> None:
    """A Job read before a change was watched does not bring the old state back."""
    old = await server.put("/jobs/linnet-a", a_job("a"))
    async with watching(server) as watch:
        await server.put("/jobs/linnet-a", a_job("a", active=1))
        await until(lambda: watch.jobs["a"]["status"] == {"active": 1})
        watch.put(old)
        assert watch.jobs["a"]["status"] == {"active": 1}


async def test_a_list_does_not_forget_what_was_made_while_it_was_read(
    server: FakeApiServer,
) -> None:
    """A Job that is younger than the list's answer was not deleted; an older one was."""
    heard: list[Change] = []
    async with api_of(server) as api:
        metrics = WatchMetrics(CollectorRegistry())
        watch = JobWatch(api, settings_of(), metrics, SystemClock(), heard.append)
        watch.put(await server.put("/jobs/linnet-old", a_job("old")))
        await server.remove("/jobs/linnet-old")
        server.lists_wait.clear()
        listing = asyncio.create_task(watch.list())
        await until(lambda: server.lists_waiting == 1)
        watch.put(await server.put("/jobs/linnet-new", a_job("new")))
        server.lists_wait.set()
        await listing
    assert set(watch.jobs) == {"new"}
    gone = [change.before["metadata"]["name"] for change in heard if change.before]
    assert gone == ["linnet-old"]


async def test_a_job_that_was_made_anew_is_not_replaced_by_the_one_before(
    server: FakeApiServer,
) -> None:
    """A list from before a launch's Job was deleted and made again changes nothing."""
    async with api_of(server) as api:
        metrics = WatchMetrics(CollectorRegistry())
        watch = JobWatch(api, settings_of(), metrics, SystemClock(), lambda _: None)
        before = await server.put("/jobs/linnet-a", a_job("a"))
        await server.remove("/jobs/linnet-a")
        anew = await server.put("/jobs/linnet-a", a_job("a"))
        watch.put(anew)
        watch.put(before)
        assert watch.jobs["a"]["metadata"]["uid"] == anew["metadata"]["uid"]


_TIMES = LeaseTimes(duration_s=3.0, renew_limit_s=1.8, retry_s=0.1)


def lease_of(api: Api, identity: str) -> KubernetesLease:
    return KubernetesLease(
        api, settings_of(), identity, SystemClock(), CollectorRegistry(), times=_TIMES
    )


async def test_one_replica_leads_and_hands_over(server: FakeApiServer) -> None:
    """Of two replicas one leads; when it steps down the other leads without waiting."""
    async with api_of(server) as api:
        one, two = lease_of(api, "one"), lease_of(api, "two")
        async with held_lease(two):
            await asyncio.wait_for(two.until_leading(), 30)
            async with held_lease(one):
                await asyncio.sleep(_TIMES.duration_s + 0.5)
                assert two.leading
                assert not one.leading
        began = time.monotonic()
        async with held_lease(one):
            await asyncio.wait_for(one.until_leading(), 30)
        assert time.monotonic() - began < _TIMES.duration_s


async def test_a_leader_that_died_is_followed(server: FakeApiServer) -> None:
    """A lease that nobody renews is taken over after its duration, not before."""
    async with api_of(server) as api:
        dead, heir = lease_of(api, "dead"), lease_of(api, "heir")
        await dead._try()
        began = time.monotonic()
        async with held_lease(heir):
            await asyncio.wait_for(heir.until_leading(), 30)
        assert time.monotonic() - began >= _TIMES.duration_s
        assert not dead.leading


async def test_a_leader_that_cannot_renew_stops_before_another_begins(
    server: FakeApiServer,
) -> None:
    """With the API server away leadership ends before the lease that it last renewed does."""
    async with api_of(server) as api:
        lease = lease_of(api, "one")
        async with held_lease(lease):
            await asyncio.wait_for(lease.until_leading(), 30)
            server.busy = 10_000
            began = time.monotonic()
            await asyncio.wait_for(lease.until_lost(), 30)
            assert time.monotonic() - began < _TIMES.duration_s
            assert not lease.leading
