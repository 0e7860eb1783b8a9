"""The chart's values as the services read them: each variable is a setting, each file is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from linnet_evaluator.serving.settings import EvaluatorSettings
from linnet_gateway.kubernetes.settings import Ceiling, KubernetesSettings, Toleration
from linnet_gateway.settings import GatewaySettings
from linnet_profiler.serving.settings import ProfilerSettings
from linnet_runtime.settings import ServiceSettings

from tests.support.chart_objects import Manifest, environment_of, named

Render = Callable[..., list[Manifest]]


def test_with_everything_external_no_secret_is_made(render: Render, chart_folder: Path) -> None:
    """Secrets that somebody else keeps are named, never copied."""
    values = yaml.safe_load((chart_folder / "ci" / "external.yaml").read_text())
    objects = render(**values)
    assert not [one for one in objects if one["kind"] == "Secret"]
    environment = environment_of(objects, "gateway")
    assert environment["LINNET_GATEWAY_DATABASE_URL"] == "linnet-database/uri"
    assert environment["LINNET_GATEWAY_STORE_SECRET_KEY"] == "linnet-s3/AWS_SECRET_ACCESS_KEY"
    assert environment["LINNET_GATEWAY_API_TOKEN"] == "linnet-administrator/token"


@pytest.mark.parametrize(
    ("store", "keys"),
    [({}, "linnet-store"), ({"secret": "mine", "accessKeyKey": "id"}, "mine")],
    ids=["made", "given"],
)
def test_the_embedded_store_has_the_keys_that_the_services_use(
    render: Render, store: dict[str, str], keys: str
) -> None:
    """Store and services read one Secret: a random one of the chart's, or the one that is named."""
    objects = render(store=store)
    own = environment_of(objects, "store")
    for component in ("gateway", "evaluator", "profiler"):
        environment = environment_of(objects, component)
        prefix = f"LINNET_{component.upper()}_STORE"
        assert environment[f"{prefix}_ACCESS_KEY"] == own["AWS_ACCESS_KEY_ID"]
        assert environment[f"{prefix}_SECRET_KEY"] == own["AWS_SECRET_ACCESS_KEY"]
    assert own["AWS_SECRET_ACCESS_KEY"] == f"{keys}/secretKey"
    made = [one["metadata"]["name"] for one in objects if one["kind"] == "Secret"]
    assert ("linnet-store" in made) == (not store)


def test_the_services_share_one_token(render: Render) -> None:
    """Gateway, evaluator and profiler read one Secret: the chart's, random, or the one named."""
    for values, secret in (({}, "linnet-service-token/token"), ({"secret": "mine"}, "mine/token")):
        objects = render(auth={"serviceToken": values})
        for component in ("gateway", "evaluator", "profiler"):
            environment = environment_of(objects, component)
            assert environment[f"LINNET_{component.upper()}_SERVICE_TOKEN"] == secret
        made = [one["metadata"]["name"] for one in objects if one["kind"] == "Secret"]
        assert ("linnet-service-token" in made) == (not values)


def test_an_image_is_named_by_its_digest_where_there_is_one(
    render: Render, chart_folder: Path
) -> None:
    """The digest wins over the tag, below the registry, in pods and for trainers."""
    values = yaml.safe_load((chart_folder / "ci" / "external.yaml").read_text())
    environment = environment_of(render(**values), "gateway")
    digest = values["images"]["trainer"]["digest"]
    assert (
        environment["LINNET_KUBERNETES_TRAINER_IMAGE"]
        == f"registry.example.org/linnet/trainer@{digest}"
    )


def _read(
    kind: type[ServiceSettings], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    for name in list(os.environ):
        if name.startswith("LINNET_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return kind.read()


def test_the_launcher_reads_what_the_chart_writes(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is a setting, and mappings and lists arrive as they were given."""
    values = yaml.safe_load((chart_folder / "ci" / "kueue.yaml").read_text())
    environment = environment_of(render(**values), "gateway")
    settings = _read(KubernetesSettings, environment, monkeypatch)
    assert settings.namespace == "linnet-runs"
    assert settings.instance == "linnet"
    assert settings.gateway_address == "linnet-gateway-internal.linnet.svc:50052"
    assert settings.queue_name == "linnet"
    assert settings.node_selector == {"pool": "batch"}
    assert settings.tolerations == (
        Toleration(key="pool", operator="Equal", value="batch", effect="NoSchedule"),
    )
    assert settings.ceiling == Ceiling(
        cpu_millis=4000, memory_bytes=8 * 1024**3, parallelism=250, deadline_s=7200
    )
    # What the project's own ceiling leaves out is everybody's.
    assert settings.project_ceilings == {
        "research": settings.ceiling.model_copy(
            update={"cpu_millis": 16_000, "memory_bytes": 64 * 1024**3}
        )
    }


def test_releases_that_share_a_runs_namespace_keep_to_their_own(
    chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainers are marked with the release, so that no gateway stops those of another."""
    chart = helm_python.Chart.load(str(chart_folder))
    found = []
    for release in ("east", "west"):
        files = chart.render({}, name=release, namespace="linnet")
        (text,) = (files[name] for name in files if name.endswith("templates/gateway.yaml"))
        deployment = next(one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environment = {one["name"]: one.get("value", "from a Secret") for one in container["env"]}
        found.append(_read(KubernetesSettings, environment, monkeypatch).instance)
    assert found == ["east", "west"]


def test_user_scripts_are_shut_in_as_the_values_say(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sandbox, nodes and the names that stand in for DNS reach the launcher."""
    values = yaml.safe_load((chart_folder / "ci" / "locked-down.yaml").read_text())
    objects = render(**values)
    settings = _read(KubernetesSettings, environment_of(objects, "gateway"), monkeypatch)
    assert settings.expert_runtime_class == "gvisor"
    assert not settings.expert_without_sandbox
    assert settings.host_users is False
    assert (settings.grace_s, settings.unschedulable_limit_s) == (120, 1800)
    assert settings.expert_host_aliases == values["runs"]["expert"]["hostAliases"]
    names = named(objects, "NetworkPolicy", "linnet-trainer-dns")["spec"]["podSelector"]
    assert names["matchLabels"]["linnet.dev/class"] == "standard"


@pytest.mark.parametrize(
    ("expert", "allowed"),
    [({}, False), ({"runtimeClass": "gvisor"}, True), ({"withoutSandbox": True}, True)],
    ids=["default", "sandbox", "without"],
)
def test_scripts_are_refused_where_nothing_would_run_them(
    render: Render, monkeypatch: pytest.MonkeyPatch, expert: dict[str, Any], allowed: bool
) -> None:
    """A run with a script is refused when it is created, not by every launch that is tried."""
    environment = environment_of(render(runs={"expert": expert}), "gateway")
    assert _read(GatewaySettings, environment, monkeypatch).expert_allowed is allowed
    launcher = _read(KubernetesSettings, environment, monkeypatch)
    assert bool(launcher.expert_runtime_class or launcher.expert_without_sandbox) is allowed
    assert launcher.host_users is None


def test_the_gateway_reads_what_the_chart_writes(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is a setting: ports, neighbours, records, and the store by both addresses."""
    values = yaml.safe_load((chart_folder / "ci" / "trial.yaml").read_text())
    settings = _read(GatewaySettings, environment_of(render(**values), "gateway"), monkeypatch)
    ports = (settings.port, settings.runner_port, settings.http_port, settings.metrics_port)
    assert ports == (50051, 50052, 8080, 9090)
    assert settings.host == settings.runner_host == "0.0.0.0"
    assert settings.launcher == "kubernetes"
    assert settings.database_url == "sqlite:////var/lib/linnet/records.db"
    assert settings.evaluator_address == "linnet-evaluator.linnet.svc:50061"
    assert settings.profiler_address == "linnet-profiler.linnet.svc:50071"
    assert settings.store.endpoint == "http://linnet-store.linnet.svc:8333"
    assert settings.store.public_endpoint == "http://localhost:8333"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_gateway_migrates_where_no_hook_does(
    render: Render, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A volume is the gateway's alone; on PostgreSQL it leaves the schema to the hook."""
    database = {"kind": kind} | ({"secret": "records"} if kind == "postgres" else {})
    objects = render(database=database)
    settings = _read(GatewaySettings, environment_of(objects, "gateway"), monkeypatch)
    hooks = [one for one in objects if one["metadata"]["name"] == "linnet-migration"]
    assert settings.migrates is (hooks == [])
    with pytest.raises(helm_python.HelmError, match=r"gateway\.settings\.MIGRATES"):
        render(database=database, gateway={"settings": {"MIGRATES": True}})


def test_large_numbers_arrive_as_they_were_given(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million is no 1e+06, which no setting of whole numbers takes; fractions stay fractions."""
    given = {"MAX_QUEUED_RUNS": 1_000_000, "MAX_MEMORY_BYTES": 64 * 1024**3, "RATE_PER_S": 0.5}
    quota = {"enabled": True, "pods": 2_000_000}
    objects = render(gateway={"settings": given}, runs={"quota": quota})
    settings = _read(GatewaySettings, environment_of(objects, "gateway"), monkeypatch)
    assert (settings.max_queued_runs, settings.max_memory_bytes) == (1_000_000, 64 * 1024**3)
    assert settings.rate_per_s == 0.5
    limits = named(objects, "ResourceQuota", "linnet-trainer")["spec"]["hard"]
    assert limits["pods"] == "2000000"


def _mounted(objects: list[Manifest], component: str) -> dict[str, dict[str, Any]]:
    """Secrets in the pods of a component, by the folder in which their files are."""
    spec = named(objects, "Deployment", f"linnet-{component}")["spec"]["template"]["spec"]
    secrets = {one["name"]: one["secret"] for one in spec["volumes"] if "secret" in one}
    return {
        one["mountPath"]: secrets[one["name"]]
        for one in spec["containers"][0]["volumeMounts"]
        if one["name"] in secrets
    }


def test_tls_and_callers_reach_the_gateway_and_the_trainers(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that a variable names is in a volume; trainers trust a Secret that they have."""
    values = yaml.safe_load((chart_folder / "ci" / "locked-down.yaml").read_text())
    objects = render(**values)
    environment = environment_of(objects, "gateway")
    settings = _read(GatewaySettings, environment, monkeypatch)
    mounted = {
        folder: secret["secretName"] for folder, secret in _mounted(objects, "gateway").items()
    }
    assert mounted[str(settings.tls_certificate_file.parent)] == "linnet-tls"
    assert mounted[str(settings.tls_key_file.parent)] == "linnet-tls"
    assert mounted[str(settings.tls_client_ca_file.parent)] == "linnet-client-ca"
    assert mounted[str(settings.tokens_file.parent)] == "linnet-tokens"
    assert _read(KubernetesSettings, environment, monkeypatch).gateway_ca_secret == "linnet-ca"

    values = yaml.safe_load((chart_folder / "ci" / "tls.yaml").read_text())
    objects = render(**values)
    environment = environment_of(objects, "gateway")
    trusted = _read(KubernetesSettings, environment, monkeypatch).gateway_ca_secret
    made = named(objects, "Secret", trusted)
    assert made["metadata"]["namespace"] == "linnet-runs"
    assert made["stringData"] == {"ca.crt": values["tls"]["ca"]}


_SERVICES = {"evaluator": EvaluatorSettings, "profiler": ProfilerSettings}


@pytest.mark.parametrize(
    ("given", "certificate", "trusted"),
    [
        ({"secret": "mine", "ca": "PEM"}, "mine", "linnet-services-ca"),
        ({"secret": "mine", "caSecret": "theirs"}, "mine", "theirs"),
        (
            {"certManager": {"enabled": True, "issuer": "company"}},
            "linnet-services-tls",
            "linnet-services-tls",
        ),
    ],
    ids=["given", "named", "cert-manager"],
)
def test_the_gateway_trusts_the_services_certificate(
    render: Render,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    certificate: str,
    trusted: str,
) -> None:
    """Each file that a variable names is in a volume; no key of the services is the gateway's."""
    objects = render(tls={"services": {"enabled": True, **given}})
    for component, kind in _SERVICES.items():
        settings = _read(kind, environment_of(objects, component), monkeypatch)
        mounted = _mounted(objects, component)
        for path, name in (
            (settings.tls_certificate_file, "tls.crt"),
            (settings.tls_key_file, "tls.key"),
        ):
            assert mounted[str(path.parent)]["secretName"] == certificate
            assert path.name == name
    settings = _read(GatewaySettings, environment_of(objects, "gateway"), monkeypatch)
    volume = _mounted(objects, "gateway")[str(settings.service_ca_file.parent)]
    assert volume["secretName"] == trusted
    assert volume["items"] == [{"key": "ca.crt", "path": settings.service_ca_file.name}]
    assert settings.tls_certificate_file is None
    test = named(objects, "Pod", "linnet-test")["spec"]
    assert [one["secret"] for one in test["volumes"]] == [volume]
    if "ca" in given:
        assert named(objects, "Secret", trusted)["stringData"] == {"ca.crt": "PEM"}
    if "certManager" in given:
        names = named(objects, "Certificate", certificate)["spec"]["dnsNames"]
        for address in (settings.evaluator_address, settings.profiler_address):
            assert address.partition(":")[0] in names


def test_without_tls_between_the_services_they_speak_plain_text(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS of the gateway's own ports changes nothing there."""
    objects = render(tls={"enabled": True, "secret": "mine", "caSecret": "theirs"})
    for component, kind in _SERVICES.items():
        settings = _read(kind, environment_of(objects, component), monkeypatch)
        assert settings.tls_certificate_file is None
        assert _mounted(objects, component) == {}
    settings = _read(GatewaySettings, environment_of(objects, "gateway"), monkeypatch)
    assert settings.service_ca_file is None


@pytest.mark.parametrize("gateway", [False, True])
@pytest.mark.parametrize("services", [False, True])
def test_helm_test_speaks_as_the_services_do(render: Render, gateway: bool, services: bool) -> None:
    """Its script is Python, and trusts the services' authorities where they speak TLS."""
    tls: dict[str, Any] = {"services": {"enabled": services}}
    if gateway:
        tls |= {"enabled": True, "secret": "mine", "caSecret": "theirs"}
    if services:
        tls["services"] |= {"secret": "mine", "caSecret": "theirs"}
    (container,) = named(render(tls=tls), "Pod", "linnet-test")["spec"]["containers"]
    script = container["command"][2]
    compile(script, "helm test", "exec")
    assert ("grpc.secure_channel" in script) == services
    assert ("grpc.insecure_channel" in script) == (not (gateway and services))


@pytest.mark.parametrize(
    ("component", "kind", "port"),
    [("evaluator", EvaluatorSettings, 50061), ("profiler", ProfilerSettings, 50071)],
)
def test_services_read_what_the_chart_writes(
    render: Render,
    monkeypatch: pytest.MonkeyPatch,
    component: str,
    kind: type[ServiceSettings],
    port: int,
) -> None:
    """Each variable is a setting, and one under `settings` reaches the service."""
    values = {"settings": {"CONCURRENCY": 7}, "drainSeconds": 90}
    environment = environment_of(render(**{component: values}), component)
    settings = _read(kind, environment, monkeypatch)
    assert settings.drain_s == 90
    assert (settings.port, settings.metrics_port) == (port, 9090)
    assert settings.host == "0.0.0.0"
    assert settings.concurrency == 7
    assert settings.store_endpoint == "http://linnet-store.linnet.svc:8333"


def test_the_gateway_reads_which_pages_may_call_it(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Origins arrive as a list; by default there are none."""
    for origins in ([], ["https://app.example.org", "http://localhost:5173"]):
        environment = environment_of(render(gateway={"webOrigins": origins}), "gateway")
        settings = _read(GatewaySettings, environment, monkeypatch)
        assert settings.web_origins == tuple(origins)
