"""Installs the chart on a MinIO that pods know by a Service and clients by another address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from forwarding import forwarded
from product import DATASET, GATEWAY, NAMESPACE, RELEASE, RUNS, Product, service_address, token_of
from stub_trainer import clear_jobs
from testbed.faults import TestbedFault
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.objectstore import ObjectStore

_CHART = Path(__file__).parents[3] / "deploy" / "helm" / "linnet"
_STORE_PORT = 9000
_WAIT = ("--wait", "--timeout=5m")


@contextmanager
def installed(
    kubectl: Kubectl, helm: Helm, store: ObjectStore, values: Mapping[str, Any]
) -> Iterator[Product]:
    """Install, push the watch recordings, and uninstall at the end of the context.

    Args:
        kubectl: The administrator's.
        helm: For `NAMESPACE`.
        store: An empty object store.
        values: Images and resources.
    """
    with forwarded(store.endpoint) as public:
        _prepare(kubectl, store)
        own = {
            "runs": {"namespace": RUNS, "expert": {"withoutSandbox": True}},
            "store": {
                "kind": "external",
                "endpoint": f"http://objects.{NAMESPACE}.svc.cluster.local:{_STORE_PORT}",
                "publicEndpoint": f"http://{public}",
                "secret": "objects",
            },
        }
        try:
            helm("install", RELEASE, str(_CHART), *_WAIT, values={**values, **own})
            product = Product(kubectl, service_address(kubectl), token_of(kubectl), public)
            product.cli("datasets", "push", f"--example={DATASET}", f"--id={DATASET}")
            yield product
        finally:
            with suppress(TestbedFault):
                # The gateway would launch again what it finds deleted.
                kubectl("scale", GATEWAY, "--replicas=0", f"--namespace={NAMESPACE}")
                clear_jobs(kubectl, RUNS)
            helm("uninstall", RELEASE, *_WAIT, "--ignore-not-found")
            kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _prepare(kubectl: Kubectl, store: ObjectStore) -> None:
    host, _, port = store.endpoint.rpartition(":")
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    where = {"namespace": NAMESPACE}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "objects", **where},
            "stringData": {"accessKey": store.access_key, "secretKey": store.secret_key},
        }
    )
    ports = [{"name": "s3", "port": _STORE_PORT, "targetPort": int(port)}]
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "objects", **where},
            "spec": {"ports": ports},
        }
    )
    kubectl.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "objects-1",
                "labels": {"kubernetes.io/service-name": "objects"},
                **where,
            },
            "addressType": "IPv4",
            "ports": [{"name": "s3", "port": int(port)}],
            "endpoints": [{"addresses": [host]}],
        }
    )
