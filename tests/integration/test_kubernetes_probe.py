"""What the doctor's probe is sent out to try, read from an installation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import kubernetes.aio.client
import pytest
from linnet_gateway.kubernetes.checkup import Installation
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.patient_calls import ApiMetrics
from linnet_gateway.kubernetes.probe_targets import find_targets
from linnet_gateway.kubernetes.settings import KubernetesSettings
from prometheus_client import CollectorRegistry

from tests.fakes.apiserver import FakeApiServer, serving
from tests.fakes.clock import ManualClock

SETTINGS = KubernetesSettings(trainer_image="t", gateway_address="inner.linnet.svc:50052")
INSTALLATION = Installation("linnet", "linnet-gateway", SETTINGS, ready=1, wanted=1)


def _pod(component: str, address: str, port: int, *, ready: bool = True) -> dict[str, Any]:
    ports = [{"name": "metrics", "containerPort": 9090}, {"name": "grpc", "containerPort": port}]
    return {
        "metadata": {"name": component, "labels": {"app.kubernetes.io/component": component}},
        "spec": {"containers": [{"ports": ports}]},
        "status": {
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """A release with a pod of each service, its profiler not ready, and its store."""
    async with serving() as made:
        kubernetes_service = {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "fd00::1"}}
        await made.put("/services/kubernetes", kubernetes_service)
        store = {"metadata": {"name": "store", "labels": {}}, "spec": {"containers": [{}]}}
        await made.put("/pods/store", store)
        await made.put("/pods/gateway", _pod("gateway", "10.244.0.4", 50051))
        await made.put("/pods/evaluator", _pod("evaluator", "fd00::7", 50061))
        await made.put("/pods/profiler", _pod("profiler", "10.244.0.6", 50071, ready=False))
        yield made


async def test_the_probe_tries_the_pods_of_the_release(server: FakeApiServer) -> None:
    """By address, so that no name service is needed; what is not ready is left out, and told."""
    client = kubernetes.aio.client.ApiClient(kubernetes.aio.client.Configuration(host=server.url))
    async with Api(client, SETTINGS, ApiMetrics(CollectorRegistry()), ManualClock()) as api:
        asked = await find_targets(api, INSTALLATION)
    assert asked["reach"] == {
        "gateway": "inner.linnet.svc:50052",
        "gateway's public port": "10.244.0.4:50051",
        "evaluator": "[fd00::7]:50061",
        "api server": "[fd00::1]:443",
        "node metadata": "169.254.169.254:80",
        "internet": "1.1.1.1:443",
        "name servers outside the cluster": "1.1.1.1:53",
    }
    assert asked["ask"] == {"name servers outside the cluster": "1.1.1.1:53"}
