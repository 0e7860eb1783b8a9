"""What an uninstall does to the launches of its installation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import kubernetes.aio.client
import pytest
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.removal import remove_launches
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_runtime.errors import Unavailable
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import FakeApiServer, serving
from tests.fakes.clock import ManualClock

SETTINGS = KubernetesSettings.model_validate(
    {"trainer_image": "trainer", "gateway_address": "gateway:1", "lease_name": "linnet-gateway"}
)


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """An installation with two Jobs, a lease and the gateway's rights."""
    async with serving() as made:
        for path in (
            "/jobs/one",
            "/jobs/two",
            "/leases/linnet-gateway",
            "/rolebindings/linnet-gateway",
        ):
            await made.put(path, {"metadata": {"name": path.rpartition("/")[2]}})
        yield made


async def removed(server: FakeApiServer) -> None:
    configuration = kubernetes.aio.client.Configuration(host=server.url)
    client = kubernetes.aio.client.ApiClient(configuration)
    clock = ManualClock()
    async with Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), clock) as api:
        await remove_launches(api, SETTINGS, clock)


async def test_the_gateway_loses_its_rights_before_any_job_goes(server: FakeApiServer) -> None:
    """A gateway that still ran would launch again what it finds deleted."""
    await removed(server)
    deletions = [path for method, path in server.calls if method == "DELETE"]
    assert deletions[0] == "/rolebindings/linnet-gateway"
    assert sorted(deletions[1:-1]) == ["/jobs/one", "/jobs/two"]
    assert deletions[-1] == "/leases/linnet-gateway"


async def test_it_ends_only_when_every_pod_is_gone(server: FakeApiServer) -> None:
    """A trainer that does not end is named after four minutes, and its Job is deleted once."""
    server.stuck = {"/jobs/two"}
    with pytest.raises(Unavailable, match="1 Jobs and pods do not go"):
        await removed(server)
    assert server.calls.count(("DELETE", "/jobs/two")) == 1
    await server.put("/pods/left", {"metadata": {"name": "left"}})
    with pytest.raises(Unavailable, match="2 Jobs and pods do not go"):
        await removed(server)


async def test_it_may_run_again(server: FakeApiServer) -> None:
    """After a first try that was killed the second finds less, and succeeds."""
    await removed(server)
    await removed(server)
