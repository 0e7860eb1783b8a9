"""The chart installs, upgrades, rolls back and goes as a user does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_CHART = Path(__file__).parents[2] / "deploy" / "helm" / "linnet"
_NAMESPACE = "linnet-trial"
_RUNS = "linnet-trial-runs"
_SETTLE_S = 120.0
_KINDS = (
    "deployments,services,serviceaccounts,secrets,configmaps,poddisruptionbudgets,networkpolicies,"
    "roles,rolebindings,persistentvolumeclaims,horizontalpodautoscalers,jobs,pods,leases"
)


def _released(kubectl: Kubectl) -> set[str]:
    """Everything that carries the release's label, as kind/name."""
    found = kubectl.get(_KINDS, "--all-namespaces", "--selector=app.kubernetes.io/instance=trial")
    namespaces = kubectl.get("namespaces", "--selector=app.kubernetes.io/instance=trial")
    return {
        f"{one['kind']}/{one['metadata']['name']}"
        for one in [*found["items"], *namespaces["items"]]
    }


def test_a_trial_is_installed_tested_upgraded_rolled_back_and_removed(
    kubectl: Kubectl, helm_in: Callable[[str], Helm], chart_values: dict[str, Any]
) -> None:
    """Each step leaves every pod ready; keys outlive an upgrade, volume claims the release."""
    helm = helm_in(_NAMESPACE)
    values = {**chart_values, "runs": {"namespace": _RUNS}}
    wait = ("--wait", "--timeout=5m")
    namespace = f"--namespace={_NAMESPACE}"
    try:
        told = helm("install", "trial", str(_CHART), "--create-namespace", *wait, values=values)
        assert "port-forward service/trial-linnet-gateway" in told
        assert "Succeeded" in helm("test", "trial")
        keys = kubectl.get("secret", "trial-linnet-store", namespace)["data"]
        token = kubectl.get("secret", "trial-linnet-gateway-token", namespace)["data"]

        larger = {**values, "profiler": {**values["profiler"], "replicas": 2}}
        helm("upgrade", "trial", str(_CHART), *wait, values=larger)
        ready = kubectl.get("deployment", "trial-linnet-profiler", namespace)["status"]
        assert ready["readyReplicas"] == 2
        assert kubectl.get("secret", "trial-linnet-store", namespace)["data"] == keys
        assert kubectl.get("secret", "trial-linnet-gateway-token", namespace)["data"] == token

        helm("rollback", "trial", "1", *wait)
        wait_until(
            lambda: (
                kubectl.get("deployment", "trial-linnet-profiler", namespace)["status"]["replicas"]
                == 1
            ),
            _SETTLE_S,
            "the rollback is done",
        )
        assert "Succeeded" in helm("test", "trial")
    finally:
        helm("uninstall", "trial", *wait, "--ignore-not-found")

    claims = {
        "PersistentVolumeClaim/trial-linnet-gateway-records",
        "PersistentVolumeClaim/trial-linnet-store-data",
    }
    wait_until(
        lambda: _released(kubectl) == claims,
        _SETTLE_S,
        "nothing but the claims is left",
        detail=lambda: str(_released(kubectl) - claims),
    )
    kubectl("delete", "namespace", _NAMESPACE)


def test_the_gateway_may_do_what_its_role_says_and_no_more(
    kubectl: Kubectl, helm_in: Callable[[str], Helm], chart_values: dict[str, Any]
) -> None:
    """The API server's own answers for the gateway's account, in its namespaces and beside them."""
    helm = helm_in(_NAMESPACE)
    runs = "linnet-rights-runs"
    values = {**chart_values, "runs": {"namespace": runs}}
    helm("install", "rights", str(_CHART), "--create-namespace", values=values)
    account = f"--as=system:serviceaccount:{_NAMESPACE}:rights-linnet-gateway"

    def may(verb: str, resource: str, namespace: str) -> bool:
        asked = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": _attributes(verb, resource, namespace)},
        }
        words = ["create", account, "--filename=-", "--output=json"]
        return bool(json.loads(kubectl(*words, stdin=json.dumps(asked)))["status"]["allowed"])

    try:
        assert may("create", "batch/jobs", runs)
        assert may("create", "/secrets", runs)
        assert may("get", "/pods/log", runs)
        assert not may("get", "/secrets", runs)
        assert not may("list", "/secrets", runs)
        assert not may("create", "/pods", runs)
        assert not may("create", "/pods/exec", runs)
        assert not may("create", "batch/jobs", _NAMESPACE)
        assert not may("get", "/secrets", _NAMESPACE)
        assert not may("list", "/nodes", "")
    finally:
        helm("uninstall", "rights", "--wait", "--timeout=5m")
        kubectl("delete", "namespace", _NAMESPACE)


def _attributes(verb: str, resource: str, namespace: str) -> dict[str, str]:
    group, name, *below = resource.split("/")
    found = {"verb": verb, "group": group, "resource": name, "namespace": namespace}
    return {**found, "subresource": below[0]} if below else found
