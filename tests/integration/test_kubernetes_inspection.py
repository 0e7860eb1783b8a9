"""What is known of launches beside their Jobs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import kubernetes.aio.client
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.inspection import Inspection
from linnet_gateway.kubernetes.jobstatus import Evidence
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.states import FailureReason
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import FakeApiServer, serving
from tests.fakes.clock import ManualClock
from tests.support.job_objects import a_job, a_pod, ended

SETTINGS = KubernetesSettings.model_validate(
    {"trainer_image": "trainer", "gateway_address": "gateway:1", "lease_name": "linnet-gateway"}
)


@asynccontextmanager
async def inspecting(server: FakeApiServer) -> AsyncIterator[tuple[Inspection, ManualClock]]:
    """An inspection of that server, and its clock."""
    client = kubernetes.aio.client.ApiClient(kubernetes.aio.client.Configuration(host=server.url))
    clock = ManualClock()
    async with Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), clock) as api:
        yield Inspection(api, SETTINGS, clock), clock


async def test_pods_that_can_not_be_understood_hide_no_other_launch() -> None:
    """One Job's odd pod costs its own explanation only, and is not read again at each look."""
    async with serving() as server:
        odd = a_pod(**ended(1))
        odd["metadata"]["labels"] = {marks.LAUNCH: "odd", marks.COMPLETION_INDEX: "first"}
        fine = a_pod(**ended(1))
        fine["metadata"]["labels"][marks.LAUNCH] = "fine"
        await server.put("/pods/odd", odd)
        await server.put("/pods/fine", fine)
        # More than eight Jobs are looked at by one list of all pods.
        jobs = {uid: a_job(failed=1) for uid in ("odd", "fine", *"abcdefgh")}
        async with inspecting(server) as (inspection, _):
            await inspection.look(jobs)
            assert inspection.evidence("fine").failures
            assert not inspection.evidence("odd").failures
            calls = len(server.calls)
            await inspection.look(jobs)
            assert len(server.calls) == calls


async def test_what_went_while_it_was_looked_at_is_forgotten() -> None:
    """Evidence of a launch whose Job is gone does not stay for ever."""
    async with serving() as server:
        await server.put("/pods/one", a_pod(**ended(1)))
        async with inspecting(server) as (inspection, _):
            await inspection.look({"gone": a_job(failed=1), "there": a_job(failed=1)})
            assert inspection.evidence("gone").failures
            inspection.forget_all_but({"there"})
            assert inspection.evidence("gone") == Evidence()
            assert inspection.evidence("there").failures


async def test_the_time_without_pods_counts_from_the_last_that_was_seen() -> None:
    """A launch whose pods ran for hours is not refused for hours the moment they are gone."""
    async with serving() as server:
        refused = {"reason": "FailedCreate", "message": "exceeded quota: runs"}
        async with inspecting(server) as (inspection, clock):
            busy, empty = a_job(active=1, ready=1), a_job(active=0)
            await inspection.look({"l-one": busy})
            clock.move(60)
            now = clock.now().isoformat()
            await server.put(
                "/events/one", {"metadata": {"name": "one"}, "lastTimestamp": now, **refused}
            )
            await inspection.look({"l-one": empty})
            assert inspection.evidence("l-one").obstacle is None
            clock.move(SETTINGS.quota_limit_s)
            await inspection.look({"l-one": empty})
            obstacle = inspection.evidence("l-one").obstacle
    assert obstacle is not None
    assert obstacle.reason is FailureReason.QUOTA_EXCEEDED
    assert f"{SETTINGS.quota_limit_s + 60:.0f} s" in obstacle.message
