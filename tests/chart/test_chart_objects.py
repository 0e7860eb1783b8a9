"""What the chart renders, for every set of values in its folder ci."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
from linnet_gateway.kubernetes.rights import Right, needed

from tests.support.chart_objects import Manifest, named

_OTHERS_KINDS = {
    "PodMonitor": "monitoring.coreos.com/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "Certificate": "cert-manager.io/v1",
}
_LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


def _kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in objects if one["kind"] == kind]


def _allowed(role: Manifest) -> dict[str, set[str]]:
    """Verbs by resource."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


def _rights(role: Manifest) -> Iterator[Right]:
    for rule in role["rules"]:
        named_ones = rule.get("resourceNames", [""])
        for group, resource, verb, name in product(
            rule["apiGroups"], rule["resources"], rule["verbs"], named_ones
        ):
            whole, _, part = resource.partition("/")
            yield Right(group, whole, verb, part, name)


def _pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, metadata and spec of each pod and pod template."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["metadata"], one["spec"]
        elif one["kind"] in {"Deployment", "Job"}:
            template = one["spec"]["template"]
            yield one["metadata"]["name"], template["metadata"], template["spec"]


def _matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_every_object_is_valid_in_kubernetes_1_34(objects: list[Manifest]) -> None:
    """Each object passes the 1.34 schema with no unknown field; others' kinds are known ones."""
    for one in objects:
        if one["kind"] in _OTHERS_KINDS:
            assert one["apiVersion"] == _OTHERS_KINDS[one["kind"]]
        else:
            kubernetes_validate.validate(one, "1.34", strict=True)


def test_lint_finds_nothing(chart_folder: Path, value_set: dict[str, Any]) -> None:
    """Helm's own lint has no warning and no error."""
    report = helm_python.lint(str(chart_folder), value_set, strict=True)
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] >= 2] == []


def test_every_pod_is_restricted(objects: list[Manifest]) -> None:
    """Each pod keeps every rule of the restricted profile, and writes to no root file system."""
    names = []
    for name, _, spec in _pods(objects):
        names.append(name)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert pod["runAsUser"] > 0, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        volumes = {next(iter(volume.keys() - {"name"})) for volume in spec.get("volumes", [])}
        assert volumes <= {"emptyDir", "secret", "persistentVolumeClaim"}, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert all("hostPort" not in port for port in container.get("ports", [])), name
    assert {"linnet-gateway", "linnet-evaluator", "linnet-profiler", "linnet-test"} <= set(names)


def test_only_the_gateway_has_an_api_token(objects: list[Manifest]) -> None:
    """No pod but it, and what ends the trainers at an uninstall, has credentials of the cluster."""
    mounted = [
        name for name, _, spec in _pods(objects) if spec.get("automountServiceAccountToken", True)
    ]
    assert sorted(mounted) == ["linnet-gateway", "linnet-removal"]
    for account in _kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, account["metadata"]["name"]


def test_no_service_variables_reach_the_settings(objects: list[Manifest]) -> None:
    """Kubernetes would add LINNET_GATEWAY_PORT=tcp://…, which is a setting's name."""
    assert all(spec["enableServiceLinks"] is False for _, _, spec in _pods(objects))


def test_every_object_has_the_recommended_labels(objects: list[Manifest]) -> None:
    """Each object and each pod can be found by release, component and version."""
    metadata = [one["metadata"] for one in objects] + [meta for _, meta, _ in _pods(objects)]
    for one in metadata:
        assert one["labels"].keys() >= _LABELS, one.get("name")
        assert all(len(value) <= 63 for value in one["labels"].values())


def test_every_container_has_requests_and_a_memory_limit(objects: list[Manifest]) -> None:
    """The scheduler knows what each container needs, and none can take the node's memory."""
    for name, _, spec in _pods(objects):
        for container in spec["containers"]:
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


def test_selectors_find_the_pods_that_they_mean(objects: list[Manifest]) -> None:
    """Each Service, budget and policy of the release selects pods of exactly its component."""
    pods = [(name, meta["labels"]) for name, meta, _ in _pods(objects)]
    selectors = [
        (one["metadata"]["name"], one["metadata"]["labels"], one["spec"]["selector"])
        for one in _kind(objects, "Service")
    ]
    selectors += [
        (one["metadata"]["name"], one["metadata"]["labels"], one["spec"]["selector"]["matchLabels"])
        for one in [*_kind(objects, "PodDisruptionBudget"), *_kind(objects, "Deployment")]
    ]
    assert len(selectors) > 9
    for name, labels, selector in selectors:
        component = labels["app.kubernetes.io/component"]
        found = [pod for pod, pod_labels in pods if _matches(selector, pod_labels)]
        assert found == [f"linnet-{component}"], name


def test_services_and_probes_name_ports_that_exist(objects: list[Manifest]) -> None:
    """Each target port is a container's port, and each probe asks one."""
    deployments = _kind(objects, "Deployment")
    for service in _kind(objects, "Service"):
        ports = {
            port["name"]
            for one in deployments
            if _matches(service["spec"]["selector"], one["spec"]["template"]["metadata"]["labels"])
            for container in one["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert targets <= ports, service["metadata"]["name"]
    for _, _, spec in _pods(deployments):
        (container,) = spec["containers"]
        known = {port["containerPort"] for port in container["ports"]}
        known |= {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            (asked,) = (
                container[probe][how]["port"]
                for how in ("grpc", "httpGet", "tcpSocket")
                if how in container[probe]
            )
            assert asked in known


def test_probes_look_behind_the_port(objects: list[Manifest]) -> None:
    """With TLS or without, a service is asked whether it serves: a port accepts in any case."""
    for name, _, spec in _pods(_kind(objects, "Deployment")):
        (container,) = spec["containers"]
        health = ("/healthz",) * 3 if name == "linnet-store" else ("/readyz", "/readyz", "/livez")
        paths = tuple(
            container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        )
        assert paths == health, name


def test_a_pod_leaves_its_services_before_it_ends(objects: list[Manifest]) -> None:
    """A pause before SIGTERM and a grace above the drain time let calls end."""
    for name, _, spec in _pods(_kind(objects, "Deployment")):
        if name == "linnet-store":
            continue
        (container,) = spec["containers"]
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] > pause + 30 - 1, name


def test_the_gateway_may_do_no_more_than_it_does(objects: list[Manifest]) -> None:
    """One Role, in the runs' namespace only, with exactly the rights that the code names."""
    assert not _kind(objects, "ClusterRole")
    assert not _kind(objects, "ClusterRoleBinding")
    role = named(objects, "Role", "linnet-gateway")
    binding = named(objects, "RoleBinding", "linnet-gateway")
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "linnet-runs"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "linnet-gateway", "namespace": "linnet"}
    ]
    granted = list(_rights(role))
    assert set(granted) == set(needed("linnet-gateway"))
    assert len(granted) == len(set(granted))


def test_an_uninstall_may_end_trainers_and_no_more(objects: list[Manifest]) -> None:
    """Its rights are in the runs' namespace, exist only while it runs, and name what they touch."""
    names = {one["metadata"]["name"] for one in _kind(objects, "Role")}
    assert names == {"linnet-gateway", "linnet-removal"}
    role = named(objects, "Role", "linnet-removal")
    assert role["metadata"]["namespace"] == "linnet-runs"
    assert _allowed(role) == {
        "jobs": {"list", "delete"},
        "pods": {"list"},
        "rolebindings": {"delete"},
        "leases": {"delete"},
    }
    for rule in role["rules"]:
        if {"rolebindings", "leases"} & set(rule["resources"]):
            assert rule["resourceNames"] == ["linnet-gateway"]
    hooks = [one for one in objects if one["metadata"]["name"] == "linnet-removal"]
    kept = {one["kind"] for one in hooks if "annotations" not in one["metadata"]}
    assert kept <= {"NetworkPolicy"}
    for one in hooks:
        if one["kind"] not in kept:
            assert one["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
            deleted = one["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
            assert deleted == "before-hook-creation,hook-succeeded"


def test_the_schema_comes_before_the_gateways(
    objects: list[Manifest], value_set: dict[str, Any]
) -> None:
    """On PostgreSQL a hook migrates before anything of the release, and goes; its policy first."""
    hooks = [one for one in objects if one["metadata"]["name"] == "linnet-migration"]
    if value_set.get("database", {}).get("kind") != "postgres":
        assert hooks == []
        return
    notes = {one["kind"]: one["metadata"]["annotations"] for one in hooks}
    assert notes.keys() == {"Job", "NetworkPolicy"}
    for kind, told in notes.items():
        assert told["helm.sh/hook"] == "pre-install,pre-upgrade", kind
        assert told["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    weights = {kind: int(told.get("helm.sh/hook-weight", "0")) for kind, told in notes.items()}
    assert weights["NetworkPolicy"] < weights["Job"]
    job = named(objects, "Job", "linnet-migration")["spec"]
    assert job["ttlSecondsAfterFinished"] > 0
    pod = job["template"]["spec"]
    # Nothing that the release makes is there yet: no account, no Secret, no claim.
    assert "serviceAccountName" not in pod
    made = {one["metadata"]["name"] for one in objects if one["kind"] == "Secret"}
    (container,) = pod["containers"]
    gateway = named(objects, "Deployment", "linnet-gateway")["spec"]["template"]["spec"]
    assert container["image"] == gateway["containers"][0]["image"]
    assert container["command"] == ["linnet-gateway", "migrate"]
    (url,) = container["env"]
    assert url in gateway["containers"][0]["env"]
    assert url["valueFrom"]["secretKeyRef"]["name"] not in made
    assert [next(iter(one.keys() - {"name"})) for one in pod["volumes"]] == ["emptyDir"]


def test_everything_is_denied_first(objects: list[Manifest]) -> None:
    """In both namespaces a policy takes all pods and opens nothing but the release's DNS."""
    policies = {
        (one["metadata"].get("namespace", "linnet"), one["metadata"]["name"]): one["spec"]
        for one in _kind(objects, "NetworkPolicy")
    }
    runs = policies["linnet-runs", "linnet-default-deny"]
    assert runs == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    release = policies["linnet", "linnet-default-deny"]
    assert "ingress" not in release
    assert all(rule["to"] for rule in release["egress"])
    assert {port["port"] for rule in release["egress"] for port in rule["ports"]} == {53}


def test_the_runs_namespace_is_restricted(objects: list[Manifest]) -> None:
    """Where the chart makes the namespace, admission refuses any pod that is not restricted."""
    for namespace in _kind(objects, "Namespace"):
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("component", ["evaluator", "profiler"])
def test_an_autoscaler_and_a_number_never_disagree(objects: list[Manifest], component: str) -> None:
    """With an autoscaler the Deployment names no number, which each upgrade would set back."""
    scaled = [
        one["spec"]["scaleTargetRef"]["name"] for one in _kind(objects, "HorizontalPodAutoscaler")
    ]
    for one in _kind(objects, "Deployment"):
        if one["metadata"]["name"] == f"linnet-{component}":
            assert ("replicas" in one["spec"]) != (one["metadata"]["name"] in scaled)


def test_every_pod_finds_a_node_where_nodes_are_tainted(
    render: Callable[..., list[Manifest]],
) -> None:
    """Services have a place and an image each; what Helm runs beside them has the gateway's."""
    placed = {
        "nodeSelector": {"pool": "services"},
        "tolerations": [{"key": "services", "operator": "Exists"}],
    }
    components = ("gateway", "evaluator", "profiler", "store")
    own = {component: placed | {"priorityClass": "steady"} for component in components}
    database = {"kind": "postgres", "secret": "records"}
    objects = render(**own, images={"pullSecrets": ["registry"]}, database=database)
    found = {name: spec for name, _, spec in _pods(objects)}
    assert found.keys() == {
        f"linnet-{name}" for name in (*components, "test", "removal", "migration")
    }
    for component in components:
        assert found[f"linnet-{component}"]["priorityClassName"] == "steady"
    for name in found:
        assert found[name]["imagePullSecrets"] == [{"name": "registry"}], name
        for key, value in placed.items():
            assert found[name][key] == value, name
