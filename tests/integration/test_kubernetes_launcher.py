"""The Kubernetes launcher against an API server that refuses."""

import kubernetes.aio.client
import pytest
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.launcher import KubernetesLauncher
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.kubernetes.watch import WatchMetrics
from linnet_gateway.launches.launcher import CLUSTER_QUOTA, NoRoomYet
from linnet_runtime.errors import QuotaExceeded
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import serving
from tests.fakes.clock import ManualClock
from tests.support.launcher_adapters import a_launch

SETTINGS = KubernetesSettings.model_validate(
    {"trainer_image": "trainer", "gateway_address": "gateway:1", "quota_limit_s": 60}
)


async def test_a_quota_on_jobs_is_borne_for_a_while() -> None:
    """A Job that a quota refuses is put off; refused for too long it is the quota's refusal."""
    async with serving() as server:
        client = kubernetes.aio.client.ApiClient(
            kubernetes.aio.client.Configuration(host=server.url)
        )
        clock = ManualClock()
        async with Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), clock) as api:
            launcher = KubernetesLauncher(api, SETTINGS, WatchMetrics(CollectorRegistry()), clock)
            server.forbidden = 'jobs.batch "l" is forbidden: exceeded quota: jobs, used: 10'
            for _ in range(2):
                with pytest.raises(NoRoomYet, match="exceeded quota: jobs"):
                    await launcher.launch(a_launch())
                clock.move(30)
            with pytest.raises(QuotaExceeded) as refused:
                await launcher.launch(a_launch())
            assert refused.value.reason == CLUSTER_QUOTA
            # The next launch of those runs is given as long.
            await launcher.stop("l-one")
            with pytest.raises(NoRoomYet):
                await launcher.launch(a_launch("l-two"))
