"""Installs the chart on a MinIO that pods know by a Service and clients by another address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forwarding import forwarded
from product import Product, Release, service_address, token_of
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.objectstore import ObjectStore

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "linnet"
WAIT = ("--wait", "--timeout=5m")
_STORE_PORT = 9000


@contextmanager
def installed(
    kubectl: Kubectl,
    helm: Helm,
    release: Release,
    store: ObjectStore,
    values: Mapping[str, Any],
) -> Iterator[Product]:
    """Install, and uninstall at the end of the context.

    Args:
        kubectl: The administrator's.
        helm: For the release's namespace.
        release: What to call it.
        store: An object store; the release gets a bucket of its own.
        values: Images and resources, and what is to differ from the trial.
    """
    with prepared(kubectl, release, store, values) as (public, all_values):
        try:
            helm("install", release.name, str(CHART), *WAIT, values=all_values)
            yield Product(
                kubectl,
                release,
                service_address(kubectl, release),
                token_of(kubectl, release),
                public,
            )
        finally:
            helm("uninstall", release.name, *WAIT, "--ignore-not-found")


@contextmanager
def prepared(
    kubectl: Kubectl, release: Release, store: ObjectStore, values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make the release's namespace with what it refers to; gives the store's public address.

    Beside the address come the values to install with. The namespace goes with the context.
    """
    with forwarded(store.endpoint) as public:
        _prepare(kubectl, release, store)
        inside = f"http://objects.{release.namespace}.svc.cluster.local:{_STORE_PORT}"
        own = {
            "runs": {"namespace": release.runs, "expert": {"withoutSandbox": True}},
            "store": {
                "kind": "external",
                "endpoint": inside,
                "publicEndpoint": f"http://{public}",
                "secret": "objects",
                "bucket": release.name,
            },
            "networkPolicy": {"store": _whereabouts(store)},
        }
        try:
            yield public, {**values, **own}
        finally:
            kubectl("delete", "namespace", release.namespace, "--wait=false")


def _whereabouts(store: ObjectStore) -> dict[str, Any]:
    # Engines judge by the Service's port or by that behind it.
    host, _, port = store.endpoint.rpartition(":")
    peers = [{"ipBlock": {"cidr": f"{host}/32"}}]
    return {"peers": peers, "ports": [_STORE_PORT, int(port)]}


def _prepare(kubectl: Kubectl, release: Release, store: ObjectStore) -> None:
    host, _, port = store.endpoint.rpartition(":")
    namespace = {"name": release.namespace}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    where = {"namespace": release.namespace}
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
