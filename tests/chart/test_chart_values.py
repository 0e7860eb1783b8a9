"""The chart's values: closed, described, and at odds with nothing that they are given with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from tests.support.chart_objects import Manifest, named

Render = Callable[..., list[Manifest]]


def _nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "type" in schema or "$ref" in schema:
            yield path, schema
        for name, child in schema.items():
            yield from _nodes(child, f"{path}/{name}")


def _services_tls(**values: Any) -> dict[str, Any]:
    return {"tls": {"services": values}}


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
        ({"database": {"secret": "x"}}, "database.secret"),
        ({"store": {"endpoint": "http://minio:9000"}}, "store.endpoint"),
        ({"tls": {"secret": "x"}}, "tls.enabled"),
        ({"tls": {"clientCa": {"secret": "x"}}}, "tls.enabled"),
        ({"tls": {"certManager": {"enabled": True, "issuer": "x"}}}, "tls.enabled"),
        (_services_tls(enabled=True), "tls.services.secret: with tls.services.enabled"),
        (_services_tls(enabled=True, secret="x"), "tls.services.ca: the gateway must trust"),
        (
            _services_tls(enabled=True, secret="x", ca="pem", caSecret="y"),
            "tls.services.ca, tls.services.caSecret",
        ),
        (
            _services_tls(enabled=True, secret="x", certManager={"enabled": True, "issuer": "i"}),
            "tls.services.secret, tls.services.certManager.enabled",
        ),
        (_services_tls(enabled=True, certManager={"enabled": True}), "tls.services.certManager.is"),
        (_services_tls(secret="x"), "tls.services.enabled: is false"),
        (_services_tls(ca="pem"), "tls.services.enabled: is false"),
        (_services_tls(caSecret="x"), "tls.services.enabled: is false"),
        (_services_tls(certManager={"enabled": True}), "tls.services.enabled: is false"),
        (
            _services_tls(enabled=True, secret="x", caSecret="y")
            | {"profiler": {"settings": {"TLS_KEY_FILE": "/x"}}},
            "profiler.settings.TLS_KEY_FILE",
        ),
        (
            {"evaluator": {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}},
            "evaluator.autoscaling.minReplicas: expected at most maxReplicas, 2, received 5",
        ),
        (
            {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "metrics.serviceMonitor",
        ),
        ({"gateway": {"settings": {"API_TOKEN": "inline"}}}, "gateway.settings.API_TOKEN"),
        ({"gateway": {"settings": {"API_TOKEN_FILE": "/x"}}}, "gateway.settings.API_TOKEN_FILE"),
        ({"gateway": {"settings": {"PORT": 1}}}, "gateway.settings.PORT"),
        ({"gateway": {"settings": {"EXPERT_ALLOWED": True}}}, "gateway.settings.EXPERT_ALLOWED"),
        ({"runs": {"settings": {"CEILING": "{}"}}}, "runs.settings.CEILING"),
        ({"runs": {"settings": {"HOST_USERS": False}}}, "runs.settings.HOST_USERS"),
        ({"gateway": {"settings": {"STORE_BUCKET": "b"}}}, "gateway.settings.STORE_BUCKET"),
        ({"profiler": {"settings": {"STORE_SECRET_KEY": "b"}}}, "profiler.settings.STORE_SECRET"),
        (
            {"profiler": {"podLabels": {"app.kubernetes.io/component": "x"}}},
            "profiler.podLabels: app.kubernetes.io/component",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    render: Render, values: dict[str, Any], told: str
) -> None:
    """What the schema can't say, the templates do, naming the value."""
    with pytest.raises(helm_python.HelmError, match=told):
        render(**values)


@pytest.mark.parametrize("release", ["my.linnet", "1linnet"])
def test_a_release_is_named_as_its_services_may_be(chart_folder: Path, release: str) -> None:
    """Helm takes names that no Service may have; the chart says so before the API server does."""
    chart = helm_python.Chart.load(str(chart_folder))
    with pytest.raises(helm_python.HelmError, match="release's name"):
        chart.render({}, name=release, namespace="linnet")


def test_pods_have_the_labels_of_the_values_beside_their_own(render: Render) -> None:
    """What an administrator adds joins what the chart selects by."""
    for component in ("gateway", "evaluator"):
        objects = render(**{component: {"podLabels": {"team": "sensing"}}})
        template = named(objects, "Deployment", f"linnet-{component}")["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert labels["team"] == "sensing"
        assert labels["app.kubernetes.io/component"] == component


def test_sqlite_has_one_gateway_that_is_recreated(render: Render) -> None:
    """One file has one writer, so an upgrade ends the old gateway first; its volume stays."""
    objects = render()
    spec = named(objects, "Deployment", "linnet-gateway")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = named(objects, "PersistentVolumeClaim", "linnet-gateway-records")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_no_secret_is_in_the_values(render: Render) -> None:
    """What a trial needs is made at random at each installation."""
    keys = {named(render(), "Secret", "linnet-store")["data"]["secretKey"] for _ in range(2)}
    tokens = {named(render(), "Secret", "linnet-gateway-token")["data"]["token"] for _ in range(2)}
    assert len(keys) == len(tokens) == 2


def test_where_helm_only_renders_every_rendering_is_the_same(chart_folder: Path) -> None:
    """With all Secrets named nothing is random, so that a sync changes nothing that runs."""
    chart = helm_python.Chart.load(str(chart_folder))
    values = {
        "gateway": {"apiToken": {"secret": "token"}},
        "auth": {"serviceToken": {"secret": "shared"}},
        "store": {"secret": "keys"},
    }
    first, second = (chart.render(values, name="linnet", namespace="linnet") for _ in range(2))
    assert first == second


def test_the_readme_is_fresh(chart_folder: Path) -> None:
    """README.md is what the schema and the defaults say."""
    script = chart_folder.parent / "readme.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
