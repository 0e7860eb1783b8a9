"""What the chart's NetworkPolicies let through and what not, for every set of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import helm_python
import pytest
from linnet_gateway.kubernetes.manifests import job_labels
from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.launches.launcher import Launch

from tests.support.chart_objects import Manifest, named
from tests.support.network_policies import Engine, Place

Render = Callable[..., list[Manifest]]

_RELEASE = "linnet"
_RUNS = "linnet-runs"
_DNS = Place(namespace="kube-system", labels={"k8s-app": "kube-dns"})
_API_SERVER = Place("10.20.1.2")
_DATABASE = Place("10.20.0.5")
_IDENTITY_PROVIDER = Place("203.0.113.40")
_PROMETHEUS = Place(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"})
_MINIO = Place(namespace="minio", labels={"app": "minio"})
_S3 = Place("10.20.8.11")
_WORLD = Place("1.1.1.1")
_METADATA = Place("169.254.169.254")
_API_SERVICE = Place("10.96.0.1")
_NODE = Place("10.20.1.40")
_STRANGER = Place(namespace="shop", labels={"app": "till"})
_SERVICES = ("gateway", "evaluator", "profiler")


@dataclass(frozen=True, slots=True)
class Way:
    """A connection that somebody may want."""

    name: str
    source: Place
    target: Place
    port: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Scene:
    """A rendered release and what is around it."""

    objects: list[Manifest]
    values: dict[str, Any]

    def engine(self, *, blocks_mean_pods: bool) -> Engine:
        policies = tuple(one for one in self.objects if one["kind"] == "NetworkPolicy")
        return Engine(policies, _RELEASE, blocks_mean_pods)

    def pod(self, component: str) -> Place:
        """A pod of the release, with the labels that the chart gives it."""
        for one in self.objects:
            labels = one["metadata"]["labels"]
            is_pod = one["kind"] in {"Deployment", "Job", "Pod"}
            if is_pod and labels["app.kubernetes.io/component"] == component:
                template = one["spec"].get("template", one)
                return Place(namespace=_RELEASE, labels=template["metadata"]["labels"])
        raise LookupError(component)

    def trainer(self, *, expert: bool) -> Place:
        """A trainer's pod, with the labels that the launcher gives it."""
        settings = KubernetesSettings(trainer_image="t", gateway_address="g:1", instance=_RELEASE)
        launch = Launch("l", "p", 1, 1, "token", None, 100, 1, expert, {}, "")
        return Place(namespace=_RUNS, labels=job_labels(launch, settings))

    @property
    def store(self) -> tuple[Place, int]:
        """The object store, and the port that its pods or hosts have."""
        values = self.values.get("store", {})
        if values.get("kind", "embedded") == "embedded":
            return self.pod("store"), 8333
        return (_MINIO, 9000) if "minio" in values["endpoint"] else (_S3, 443)

    @property
    def client(self) -> Place:
        """Somebody who may call the gateway."""
        closed = self.values.get("networkPolicy", {}).get("clients")
        return Place(namespace="ingress") if closed else Place("198.51.100.7")

    def has_postgres(self) -> bool:
        return bool(self.values.get("database", {}).get("kind") == "postgres")


@pytest.fixture
def scene(objects: list[Manifest], value_set: dict[str, Any]) -> Scene:
    return Scene(objects, value_set)


def _needed(scene: Scene) -> Iterator[Way]:
    """Each arrow of ARCHITECTURE.md, and what Kubernetes needs beside them."""
    gateway = scene.pod("gateway")
    store, store_port = scene.store
    for port in (50051, 8080):
        yield Way("client -> gateway", scene.client, gateway, port)
    yield Way("gateway -> evaluator", gateway, scene.pod("evaluator"), 50061)
    yield Way("gateway -> profiler", gateway, scene.pod("profiler"), 50071)
    yield Way("gateway -> API server", gateway, _API_SERVER, 6443)
    yield Way("uninstall -> API server", scene.pod("removal"), _API_SERVER, 6443)
    if scene.has_postgres():
        yield Way("gateway -> database", gateway, _DATABASE, 5432)
        yield Way("migration -> database", scene.pod("migration"), _DATABASE, 5432)
        yield Way("migration -> name server", scene.pod("migration"), _DNS, 53, "UDP")
    if scene.values.get("auth", {}).get("oidc"):
        yield Way("gateway -> identity provider", gateway, _IDENTITY_PROVIDER, 443)
    for name in _SERVICES:
        yield Way(f"{name} -> store", scene.pod(name), store, store_port)
        yield Way(f"Prometheus -> {name}", _PROMETHEUS, scene.pod(name), 9090)
        yield Way(f"{name} -> name server", scene.pod(name), _DNS, 53, "UDP")
    if store.namespace == _RELEASE:
        yield Way("client -> store", scene.client, store, store_port)
    for name, port in (("gateway", 50051), ("evaluator", 50061), ("profiler", 50071)):
        yield Way(f"helm test -> {name}", scene.pod("test"), scene.pod(name), port)
    for expert in (False, True):
        trainer = scene.trainer(expert=expert)
        yield Way("trainer -> gateway", trainer, gateway, 50052)
        yield Way("trainer -> store", trainer, store, store_port)
    for protocol in ("UDP", "TCP"):
        trainer = scene.trainer(expert=False)
        yield Way("trainer -> name server", trainer, _DNS, 53, protocol)


def _places(scene: Scene) -> dict[str, Place]:
    """Everything that a trainer could want to reach."""
    return {
        **{name: scene.pod(name) for name in (*_SERVICES, "test", "removal")},
        "store": scene.store[0],
        "another trainer": scene.trainer(expert=False),
        "a pod of somebody else": _STRANGER,
        "another pod of the store's namespace": Place(namespace=_MINIO.namespace),
        "another pod of the name server's namespace": Place(namespace=_DNS.namespace),
        "name server": _DNS,
        "API server": _API_SERVER,
        "API server's Service": _API_SERVICE,
        "database": _DATABASE,
        "identity provider": _IDENTITY_PROVIDER,
        "node": _NODE,
        "metadata": _METADATA,
        "world": _WORLD,
    }


_PORTS = (22, 53, 80, 443, 5432, 6443, 8080, 8333, 9000, 9090, 10250, 50051, 50052, 50061, 50071)


def test_each_arrow_of_the_architecture_is_open(scene: Scene) -> None:
    """What the product needs passes even where an ipBlock means no pod."""
    engine = scene.engine(blocks_mean_pods=False)
    shut = [
        way.name
        for way in _needed(scene)
        if not engine.passes(way.source, way.target, way.port, way.protocol)
    ]
    assert shut == []


@pytest.mark.parametrize("expert", [False, True], ids=["standard", "expert"])
def test_a_trainer_reaches_nothing_else(scene: Scene, expert: bool) -> None:
    """Gateway's inner port, store and name servers; every other port and place is shut."""
    engine = scene.engine(blocks_mean_pods=True)
    store, store_port = scene.store
    names = not (expert and scene.values.get("runs", {}).get("expert", {}).get("hostAliases"))
    trainer = scene.trainer(expert=expert)
    opened = {
        (name, port, protocol)
        for name, place in _places(scene).items()
        for port in _PORTS
        for protocol in ("TCP", "UDP")
        if engine.passes(trainer, place, port, protocol)
    }
    expected = {("gateway", 50052, "TCP"), ("store", store_port, "TCP")}
    if names:
        expected |= {("name server", 53, "TCP"), ("name server", 53, "UDP")}
    assert opened == expected
    assert engine.passes(trainer, store, store_port)


def test_nothing_reaches_a_trainer(scene: Scene) -> None:
    """No pod, host or stranger connects to a trainer, on any port."""
    engine = scene.engine(blocks_mean_pods=True)
    trainer = scene.trainer(expert=True)
    reaching = [
        (name, port)
        for name, place in _places(scene).items()
        for port in _PORTS
        if engine.passes(place, trainer, port)
    ]
    assert reaching == []


def test_who_opens_models_reaches_the_store_only(scene: Scene) -> None:
    """Evaluator and profiler have the store and name servers; nobody calls them but the gateway."""
    engine = scene.engine(blocks_mean_pods=True)
    store, store_port = scene.store
    for component, own_port in (("evaluator", 50061), ("profiler", 50071)):
        pod = scene.pod(component)
        places = _places(scene)
        opened = {
            (name, port)
            for name, place in places.items()
            for port in _PORTS
            if engine.passes(pod, place, port)
        }
        assert opened == {("store", store_port), ("name server", 53)}, component
        callers = {name for name, place in places.items() if engine.passes(place, pod, own_port)}
        assert callers == {"gateway", "test"}, component
    assert engine.passes(scene.pod("gateway"), store, store_port)


def test_a_migration_reaches_the_database_only(render: Render) -> None:
    """Its own policy is there before those of the release, and after those of an earlier one."""
    peers = [{"ipBlock": {"cidr": f"{_DATABASE.address}/32"}}]
    values = {
        "database": {"kind": "postgres", "secret": "records"},
        "networkPolicy": {"database": {"peers": peers, "ports": [5432]}},
    }
    every = render(**values)
    own = [one for one in every if one["metadata"]["name"] == "linnet-migration"]
    assert {one["kind"] for one in own} == {"Job", "NetworkPolicy"}
    before = [one for one in every if one["kind"] != "NetworkPolicy"]
    denied = [
        one
        for one in every
        if one["metadata"]["name"] == "linnet-default-deny" and "namespace" not in one["metadata"]
    ]
    assert denied
    for earlier in ([], denied):
        scene = Scene([*before, *own, *earlier], values)
        engine = scene.engine(blocks_mean_pods=True)
        opened = {
            (name, port)
            for name, place in _places(scene).items()
            for port in _PORTS
            if engine.passes(scene.pod("migration"), place, port)
        }
        assert opened == {("database", 5432), ("name server", 53)}


def _store_rule(objects: list[Manifest]) -> dict[str, Any]:
    (policy,) = (
        one
        for one in objects
        if one["kind"] == "NetworkPolicy"
        and one["metadata"]["name"] == "linnet-trainer"
        and one["metadata"]["namespace"] == _RUNS
    )
    rule: dict[str, Any] = policy["spec"]["egress"][-1]
    return rule


_PEERS = [{"ipBlock": {"cidr": "10.9.0.0/24"}}]


def _external(endpoint: str, **policy: Any) -> dict[str, Any]:
    return {
        "store": {"kind": "external", "endpoint": endpoint, "secret": "keys"},
        "networkPolicy": {"store": {"peers": _PEERS, **policy}},
    }


@pytest.mark.parametrize(
    ("endpoint", "policy", "ports"),
    [
        ("http://minio:9000", {}, [9000]),
        ("http://minio", {}, [80]),
        ("https://s3.example.org", {}, [443]),
        ("https://[fd00::1]:8443", {}, [8443]),
        ("https://[fd00::1]", {}, [443]),
        ("http://minio:80", {"ports": [80, 9000]}, [80, 9000]),
    ],
)
def test_the_opening_has_the_stores_own_port(
    render: Render, endpoint: str, policy: dict[str, Any], ports: list[int]
) -> None:
    """The port is that of store.endpoint, unless the values say what its pods have."""
    rule = _store_rule(render(**_external(endpoint, **policy)))
    assert rule["ports"] == [{"protocol": "TCP", "port": port} for port in ports]
    assert rule["to"] == _PEERS


def test_the_identity_providers_port_is_that_of_its_keys(render: Render) -> None:
    """Keys on another port than 443 can be read."""
    keys = "http://keycloak.id.svc:8180/realms/linnet/keys"
    oidc = {"issuer": "http://id", "audience": "linnet", "jwksUrl": keys}
    policy = named(render(auth={"oidc": oidc}), "NetworkPolicy", "linnet-gateway")
    assert {"ports": [{"protocol": "TCP", "port": 8180}]} in policy["spec"]["egress"]


@pytest.mark.parametrize(
    ("peers", "told"),
    [
        ([], "networkPolicy.store.peers: with store.kind external"),
        ([{"ipBlock": {"cidr": "0.0.0.0/0"}}], "would open the API server"),
        ([{"podSelector": {"matchLabels": {"app": "minio"}}}], "needs a namespaceSelector"),
    ],
)
def test_trainers_are_given_no_way_to_everywhere(
    render: Render, peers: list[dict[str, Any]], told: str
) -> None:
    """Where the store is must be said, and narrower than everywhere."""
    with pytest.raises(helm_python.HelmError, match=told):
        render(**_external("http://minio:9000", peers=peers))
    spared = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]
    assert _store_rule(render(**_external("http://minio:9000", peers=spared)))["to"] == spared


def test_name_servers_elsewhere_can_be_named(render: Render) -> None:
    """A cache on the nodes, or pods with a port of their own, are values; everywhere is none."""
    peers = [{"ipBlock": {"cidr": "169.254.20.10/32"}}]
    objects = render(networkPolicy={"dns": {"peers": peers, "ports": [53, 5353]}})
    policy = named(objects, "NetworkPolicy", "linnet-trainer-dns")
    (rule,) = policy["spec"]["egress"]
    assert rule["to"] == peers
    assert {(one["protocol"], one["port"]) for one in rule["ports"]} == {
        (protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)
    }
    with pytest.raises(helm_python.HelmError, match="peers"):
        render(networkPolicy={"dns": {"peers": []}})
