"""What is known of launches beside their Jobs."""

import kubernetes.aio.client
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.inspection import Inspection
from linnet_gateway.kubernetes.jobstatus import Evidence
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import serving
from tests.fakes.clock import ManualClock
from tests.support.job_objects import a_job, a_pod, ended

SETTINGS = KubernetesSettings.model_validate(
    {"trainer_image": "trainer", "gateway_address": "gateway:1", "lease_name": "linnet-gateway"}
)


async def test_what_went_while_it_was_looked_at_is_forgotten() -> None:
    """Evidence of a launch whose Job is gone does not stay for ever."""
    async with serving() as server:
        await server.put("/pods/one", a_pod(**ended(1)))
        client = kubernetes.aio.client.ApiClient(
            kubernetes.aio.client.Configuration(host=server.url)
        )
        clock = ManualClock()
        async with Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), clock) as api:
            inspection = Inspection(api, SETTINGS, clock)
            await inspection.look({"gone": a_job(failed=1), "there": a_job(failed=1)})
            assert inspection.evidence("gone").failures
            inspection.forget_all_but({"there"})
            assert inspection.evidence("gone") == Evidence()
            assert inspection.evidence("there").failures
