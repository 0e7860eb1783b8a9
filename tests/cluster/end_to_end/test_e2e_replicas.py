"""Two gateways on PostgreSQL behind TLS: one is lost, upgraded, rolled back, and uninstalled."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from forwarding import forwarded
from installation import CHART, WAIT, prepared
from linnet.v1 import run_pb2
from linnet_runtime.errors import Unavailable
from linnet_sdk import Client
from linnet_sdk.server_address import parse
from product import Product, Release, epochs_told, service_address, token_of
from testbed import postgres
from testbed.certificates import Authority
from testbed.cluster import Cluster
from testbed.helm import Helm
from testbed.images import ctr
from testbed.kubectl import Kubectl
from testbed.objectstore import ObjectStore
from testbed.patience import wait_until
from testbed.serviceimages import SERVICES
from testbed.serviceimages import name as image_name

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_RELEASE = Release("pair", "linnet-pair", "linnet-pair-runs")
_EPOCHS = 300
_NEXT = "next"
"""The tag of the release that is upgraded to."""
_KINDS = (
    "deployments,services,serviceaccounts,secrets,configmaps,poddisruptionbudgets,networkpolicies,"
    "roles,rolebindings,persistentvolumeclaims,horizontalpodautoscalers,jobs,pods,leases"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """The installation and how it was made."""

    product: Product
    helm: Helm
    values: dict[str, Any]
    plain_address: str


def _values(authority: Authority, chart_values: dict[str, Any]) -> dict[str, Any]:
    return {
        **chart_values,
        "gateway": {**chart_values["gateway"], "replicas": 2},
        "database": {"kind": "postgres", "secret": "records"},
        "tls": {
            "enabled": True,
            "secret": "certificate",
            "ca": authority.pair.certificate.decode(),
        },
    }


def _secret(name: str, **data: bytes) -> dict[str, object]:
    kind = "kubernetes.io/tls" if "tls.crt" in data else "Opaque"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": _RELEASE.namespace},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


@pytest.fixture(scope="module")
def pair(
    own_testbed: Cluster,
    kubectl: Kubectl,
    helm_in: Callable[[str], Helm],
    chart_values: dict[str, Any],
    object_store: ObjectStore,
) -> Iterator[Pair]:
    """Two gateways; clients outside reach them by a forwarded port, as `localhost`."""
    authority = Authority.create(dt.datetime.now(dt.UTC))
    roots = own_testbed.places.state / "gateway-ca.crt"
    roots.write_bytes(authority.pair.certificate)
    inside = [
        f"{_RELEASE.gateway}{suffix}.{_RELEASE.namespace}.svc" for suffix in ("", "-internal")
    ]
    certificate = authority.server("gateway", ["localhost", *inside])
    helm = helm_in(_RELEASE.namespace)
    values = _values(authority, chart_values)
    with (
        postgres.started(own_testbed) as url,
        prepared(kubectl, _RELEASE, object_store, values) as (store, all_values),
    ):
        kubectl.apply(_secret("records", url=url.encode()))
        pem = {"tls.crt": certificate.certificate, "tls.key": certificate.key}
        kubectl.apply(_secret("certificate", **pem))
        try:
            helm("install", _RELEASE.name, str(CHART), *WAIT, values=all_values)
            address = service_address(kubectl, _RELEASE)
            with forwarded(address) as local, pytest.MonkeyPatch.context() as patch:
                # The variable by which gRPC is told of authorities that the machine does not know.
                patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(roots))
                token = token_of(kubectl, _RELEASE)
                product = Product(kubectl, _RELEASE, f"https://{local}", token, store)
                product.push_dataset()
                yield Pair(product, helm, all_values, local)
        finally:
            helm("uninstall", _RELEASE.name, *WAIT, "--ignore-not-found")


def _leader(product: Product) -> str:
    """Name of the pod that holds the lease."""
    where = f"--namespace={_RELEASE.runs}"
    holder = product.kubectl.get("lease", _RELEASE.gateway, where)["spec"].get("holderIdentity")
    names = [str(pod["metadata"]["name"]) for pod in product.gateway_pods()]
    return next((name for name in names if str(holder).startswith(name)), "")


def _ready(product: Product) -> int:
    return sum(
        all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))
        for pod in product.gateway_pods()
        if "deletionTimestamp" not in pod["metadata"]
    )


def test_two_gateways_serve_and_one_leads(pair: Pair) -> None:
    """Both replicas are ready, and one of them holds the lease by which they agree."""
    assert _ready(pair.product) == 2
    wait_until(lambda: bool(_leader(pair.product)), 60.0, "one replica leads")


def test_the_schema_was_there_before_the_gateways(pair: Pair) -> None:
    """The hook that migrates has run and left nothing; no gateway had to start twice."""
    product = pair.product
    where = f"--namespace={_RELEASE.namespace}"
    hooks = product.kubectl.get("jobs,pods,networkpolicies", where)["items"]
    names = [one["metadata"]["name"] for one in hooks]
    assert not [name for name in names if name.startswith(f"{_RELEASE.name}-linnet-migration")]
    for pod in product.gateway_pods():
        environment = {one["name"]: one for one in pod["spec"]["containers"][0]["env"]}
        assert environment["LINNET_GATEWAY_MIGRATES"]["value"] == "false"
        assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]


def test_helm_test_asks_the_tls_port(pair: Pair) -> None:
    """`helm test` succeeds on the certificate that the Secret holds."""
    assert "Succeeded" in pair.helm("test", _RELEASE.name)


def test_plain_text_is_not_served(pair: Pair) -> None:
    """A client that speaks no TLS gets no answer."""
    plain = Client(parse(pair.plain_address, pair.product.token))
    with plain as client, pytest.raises(Unavailable):
        client.list_targets()


def test_trainers_reach_the_runner_by_tls(pair: Pair) -> None:
    """A trainer trusts the authority that the chart put into its namespace, and succeeds."""
    run = pair.product.start(epochs=3)
    ended = pair.product.until_ended(run)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    jobs = [one for one in pair.product.trainers() if one["kind"] == "Job"]
    pods = [one["spec"]["template"]["spec"] for one in jobs]
    assert pods
    for pod in pods:
        secrets = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
        assert f"{_RELEASE.gateway}-ca" in secrets


def test_losing_the_leading_replica_loses_nothing(pair: Pair, own_testbed: Cluster) -> None:
    """The leader is killed and its pod deleted: the other takes over, the run goes on."""
    product = pair.product
    run = product.start(epochs=_EPOCHS)
    product.until_training(run)
    lost = _leader(product)
    assert lost
    (pod,) = (one for one in product.gateway_pods() if one["metadata"]["name"] == lost)
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    kill = [*ctr(own_testbed.places), "task", "kill", "--signal=SIGKILL", container]
    own_testbed.processes.run(kill)
    where = (f"--namespace={_RELEASE.namespace}", "--grace-period=0", "--force", "--wait=false")
    product.kubectl("delete", "pod", lost, *where)
    wait_until(lambda: _leader(product) not in {"", lost}, 60.0, "another replica leads")
    ended = product.until_ended(run, timeout_s=300)
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
    assert ended.attempt == 1
    assert epochs_told(product, run) == list(range(1, _EPOCHS + 1))
    wait_until(lambda: _ready(product) == 2, 90.0, "the Deployment has replaced the lost replica")


def _image_of(pod: Mapping[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _newest_trainer(product: Product) -> str:
    """Name the image that was launched last."""
    pods = [one for one in product.trainers() if one["kind"] == "Pod"]
    return _image_of(max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])))


def test_an_upgrade_and_a_rollback_lose_nothing(pair: Pair, own_testbed: Cluster) -> None:
    """`helm upgrade` to other images and `helm rollback` while a run trains change not the run.

    What is launched after the upgrade trains in the new image. The images differ by name only: what
    earlier releases do on this schema has a contract test.
    """
    product = pair.product
    run = product.start(epochs=2 * _EPOCHS)
    product.until_training(run)
    for service in SERVICES:
        own_testbed.tag_image(image_name(service), image_name(service, _NEXT))
    images = {**pair.values["images"], **{service: {"tag": _NEXT} for service in SERVICES}}

    def gateways() -> dict[str, str]:
        return {
            str(pod["metadata"]["name"]): _image_of(pod)
            for pod in product.gateway_pods()
            if "deletionTimestamp" not in pod["metadata"]
        }

    token = token_of(product.kubectl, _RELEASE)
    pair.helm("upgrade", _RELEASE.name, str(CHART), *WAIT, values={**pair.values, "images": images})
    assert set(gateways().values()) == {image_name("gateway", _NEXT)}
    wait_until(lambda: _leader(product) in gateways(), 60.0, "a new gateway leads")
    later = product.start(epochs=2 * _EPOCHS)
    product.until_training(later)
    assert _newest_trainer(product) == image_name("trainer", _NEXT)
    pair.helm("rollback", _RELEASE.name, "1", *WAIT)
    assert set(gateways().values()) == {image_name("gateway")}
    assert token_of(product.kubectl, _RELEASE) == token
    for one in (run, later):
        ended = product.until_ended(one, timeout_s=300)
        assert ended.state == run_pb2.RUN_STATE_SUCCEEDED, ended
        assert ended.attempt == 1
        assert epochs_told(product, one) == list(range(1, 2 * _EPOCHS + 1))


def _left(kubectl: Kubectl) -> set[str]:
    """What carries the release's label anywhere, and the runs' namespace."""
    selector = f"--selector=app.kubernetes.io/instance={_RELEASE.name}"
    found = kubectl.get(_KINDS, "--all-namespaces", selector)["items"]
    found += kubectl.get("namespaces", selector)["items"]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


def test_an_uninstall_while_a_run_trains_leaves_nothing(
    pair: Pair, own_testbed: Cluster, kubectl: Kubectl
) -> None:
    """Trainers end first, even one whose failed pod waits to be replaced; nothing is left."""
    product = pair.product
    run = product.start(epochs=50_000)
    product.until_training(run)
    (pod,) = (
        one
        for one in product.trainers()
        if one["kind"] == "Pod" and one["status"]["phase"] == "Running"
    )
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    kill = [*ctr(own_testbed.places), "task", "kill", "--signal=SIGKILL", container]
    own_testbed.processes.run(kill)

    def failed() -> bool:
        pods = [one for one in product.trainers() if one["kind"] == "Pod"]
        return any(one["status"]["phase"] == "Failed" for one in pods)

    wait_until(failed, 60.0, "the killed trainer's pod has failed")
    pair.helm("uninstall", _RELEASE.name, *WAIT)
    wait_until(
        lambda: not _left(kubectl), 60.0, "nothing is left", detail=lambda: str(_left(kubectl))
    )
    assert _RELEASE.runs not in kubectl("get", "namespaces")
