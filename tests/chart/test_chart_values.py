"""The chart's values: closed, described, and passed on to the services as they read them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
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

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


def _named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def _environment(objects: list[Manifest], component: str) -> dict[str, str]:
    """Variables of the component's container; those from Secrets hold the Secret's name and key."""
    deployment = _named(objects, "Deployment", f"linnet-{component}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found = {}
    for one in container["env"]:
        secret = one.get("valueFrom", {}).get("secretKeyRef", {})
        found[one["name"]] = one["value"] if "value" in one else "{name}/{key}".format(**secret)
    return found


def _nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "type" in schema or "$ref" in schema:
            yield path, schema
        for name, child in schema.items():
            yield from _nodes(child, f"{path}/{name}")


@pytest.fixture(scope="session")
def schema(chart_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((chart_folder / "values.schema.json").read_text())
    return found


def test_every_value_is_described(schema: dict[str, Any]) -> None:
    """Each property of the schema says what it is, in a sentence."""
    for path, node in _nodes(schema):
        if path.split("/")[-2:-1] == ["properties"]:
            assert node.get("description", "").endswith("."), path


def test_the_schema_is_closed(schema: dict[str, Any]) -> None:
    """Each object with named properties takes no other, so that a typing error is an error."""
    closed = [node for _, node in _nodes(schema) if "properties" in node]
    assert len(closed) > 30
    assert all(node["additionalProperties"] is False for node in closed)


def test_every_default_is_in_the_schema(schema: dict[str, Any], chart_folder: Path) -> None:
    """values.yaml gives every value that the schema names, and no other."""
    values = yaml.safe_load((chart_folder / "values.yaml").read_text())

    def compare(node: dict[str, Any], value: Any, path: str) -> None:
        properties = node.get("properties", {})
        if not properties or path.endswith("]"):
            return
        named = properties.keys() - {"global"}
        assert value.keys() == named, path
        for name in named:
            compare(properties[name], value[name], f"{path}.{name}")

    compare(schema, values, "values")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"gateway": {"replicas": "two"}}, "replicas"),
        ({"gateway": {"logLevel": "LOUD"}}, "logLevel"),
        ({"images": {"trainer": {"digest": "sha256:12"}}}, "digest"),
        ({"store": {"endpoint": "minio:9000"}}, "endpoint"),
        ({"runs": {"tolerations": [{"kez": "pool"}]}}, "kez"),
        ({"gateway": {"settings": {"lower": 1}}}, "lower"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(
    chart_folder: Path, values: dict[str, Any], told: str
) -> None:
    """Helm names the value that the schema does not allow."""
    report = helm_python.lint(str(chart_folder), values, strict=True)
    messages = [*report["errors"], *(one["error"] for one in report["messages"])]
    assert any(told in message for message in messages), messages


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gateway": {"replicas": 2}}, "gateway.replicas"),
        ({"database": {"kind": "postgres"}}, "database.secret"),
        ({"store": {"kind": "external"}}, "store.endpoint"),
        ({"tls": {"enabled": True}}, "tls.secret"),
        ({"tls": {"enabled": True, "secret": "x"}}, "tls.ca"),
        ({"auth": {"oidc": {"issuer": "https://id"}}}, "auth.oidc.audience"),
        ({"runs": {"namespace": "linnet"}}, "runs.namespace"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    render: Render, values: dict[str, Any], told: str
) -> None:
    """What the schema can't say, the templates do, naming the value."""
    with pytest.raises(helm_python.HelmError, match=told):
        render(**values)


def test_sqlite_has_one_gateway_that_is_recreated(render: Render) -> None:
    """One file has one writer, so an upgrade ends the old gateway first; its volume stays."""
    objects = render()
    spec = _named(objects, "Deployment", "linnet-gateway")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = _named(objects, "PersistentVolumeClaim", "linnet-gateway-records")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_no_secret_is_in_the_values(render: Render) -> None:
    """What a trial needs is made at random at each installation."""
    keys = {_named(render(), "Secret", "linnet-store")["stringData"]["secretKey"] for _ in range(2)}
    tokens = {_named(render(), "Secret", "linnet-gateway-token")["data"]["token"] for _ in range(2)}
    assert len(keys) == len(tokens) == 2


def test_with_everything_external_no_secret_is_made(render: Render, chart_folder: Path) -> None:
    """Secrets that somebody else keeps are named, never copied."""
    values = yaml.safe_load((chart_folder / "ci" / "external.yaml").read_text())
    objects = render(**values)
    assert not [one for one in objects if one["kind"] == "Secret"]
    environment = _environment(objects, "gateway")
    assert environment["LINNET_GATEWAY_DATABASE_URL"] == "linnet-database/uri"
    assert environment["LINNET_GATEWAY_STORE_SECRET_KEY"] == "linnet-s3/AWS_SECRET_ACCESS_KEY"
    assert environment["LINNET_GATEWAY_API_TOKEN"] == "linnet-administrator/token"


def test_an_image_is_named_by_its_digest_where_there_is_one(
    render: Render, chart_folder: Path
) -> None:
    """The digest wins over the tag, below the registry, in pods and for trainers."""
    values = yaml.safe_load((chart_folder / "ci" / "external.yaml").read_text())
    environment = _environment(render(**values), "gateway")
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
    environment = _environment(render(**values), "gateway")
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
    assert settings.project_ceilings == {
        "research": Ceiling(cpu_millis=16_000, memory_bytes=64 * 1024**3)
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
    settings = _read(KubernetesSettings, _environment(objects, "gateway"), monkeypatch)
    assert settings.expert_runtime_class == "gvisor"
    assert not settings.expert_without_sandbox
    assert settings.expert_host_aliases == values["runs"]["expert"]["hostAliases"]
    names = _named(objects, "NetworkPolicy", "linnet-trainer-dns")["spec"]["podSelector"]
    assert names["matchLabels"]["linnet.dev/class"] == "standard"


def test_the_gateway_reads_what_the_chart_writes(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is a setting: ports, neighbours, records, and the store by both addresses."""
    values = yaml.safe_load((chart_folder / "ci" / "trial.yaml").read_text())
    settings = _read(GatewaySettings, _environment(render(**values), "gateway"), monkeypatch)
    ports = (settings.port, settings.runner_port, settings.http_port, settings.metrics_port)
    assert ports == (50051, 50052, 8080, 9090)
    assert settings.host == settings.runner_host == "0.0.0.0"
    assert settings.launcher == "kubernetes"
    assert settings.database_url == "sqlite:////var/lib/linnet/records.db"
    assert settings.evaluator_address == "linnet-evaluator.linnet.svc:50061"
    assert settings.profiler_address == "linnet-profiler.linnet.svc:50071"
    assert settings.store.endpoint == "http://linnet-store.linnet.svc:8333"
    assert settings.store.public_endpoint == "http://localhost:8333"


def test_tls_and_callers_reach_the_gateway_and_the_trainers(
    render: Render, chart_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that a variable names is in a volume; trainers trust a Secret that they have."""
    values = yaml.safe_load((chart_folder / "ci" / "locked-down.yaml").read_text())
    objects = render(**values)
    environment = _environment(objects, "gateway")
    settings = _read(GatewaySettings, environment, monkeypatch)
    spec = _named(objects, "Deployment", "linnet-gateway")["spec"]["template"]["spec"]
    volumes = [one for one in spec["volumes"] if "secret" in one]
    secrets = {one["name"]: one["secret"]["secretName"] for one in volumes}
    mounted = {
        one["mountPath"]: secrets[one["name"]]
        for one in spec["containers"][0]["volumeMounts"]
        if one["name"] in secrets
    }
    assert mounted[str(settings.tls_certificate_file.parent)] == "linnet-tls"
    assert mounted[str(settings.tls_key_file.parent)] == "linnet-tls"
    assert mounted[str(settings.tls_client_ca_file.parent)] == "linnet-client-ca"
    assert mounted[str(settings.tokens_file.parent)] == "linnet-tokens"
    assert _read(KubernetesSettings, environment, monkeypatch).gateway_ca_secret == "linnet-ca"

    values = yaml.safe_load((chart_folder / "ci" / "tls.yaml").read_text())
    objects = render(**values)
    environment = _environment(objects, "gateway")
    trusted = _read(KubernetesSettings, environment, monkeypatch).gateway_ca_secret
    made = _named(objects, "Secret", trusted)
    assert made["metadata"]["namespace"] == "linnet-runs"
    assert made["stringData"] == {"ca.crt": values["tls"]["ca"]}


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
    environment = _environment(render(**{component: {"settings": {"CONCURRENCY": 7}}}), component)
    settings = _read(kind, environment, monkeypatch)
    assert (settings.port, settings.metrics_port) == (port, 9090)
    assert settings.host == "0.0.0.0"
    assert settings.concurrency == 7
    assert settings.store_endpoint == "http://linnet-store.linnet.svc:8333"


def test_the_readme_is_fresh(chart_folder: Path) -> None:
    """README.md is what the schema and the defaults say."""
    script = chart_folder.parent / "readme.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
