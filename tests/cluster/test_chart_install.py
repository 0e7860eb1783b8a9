"""The chart installs, upgrades, rolls back and goes as a user does it, in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
_IN_NAMESPACE = f"--namespace={_NAMESPACE}"
_WAIT = ("--wait", "--timeout=5m")
_SETTLE_S = 180.0
_KINDS = (
    "deployments,services,serviceaccounts,secrets,configmaps,poddisruptionbudgets,networkpolicies,"
    "roles,rolebindings,persistentvolumeclaims,horizontalpodautoscalers,jobs,pods,leases"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """An installation with the built-in store and SQLite.

    Attributes:
        helm: For its namespace.
        values: What it was installed with.
        told: What Helm said at the end.
    """

    helm: Helm
    values: dict[str, Any]
    told: str


@pytest.fixture(scope="module")
def trial(
    kubectl: Kubectl, helm_in: Callable[[str], Helm], chart_values: dict[str, Any]
) -> Iterator[Trial]:
    """The chart, installed as a trial in namespaces that are removed at the end."""
    helm = helm_in(_NAMESPACE)

    def remove() -> None:
        helm("uninstall", "trial", *_WAIT, "--ignore-not-found")
        kubectl("delete", "namespace", _NAMESPACE, _RUNS, "--ignore-not-found")

    remove()
    values = {**chart_values, "runs": {"namespace": _RUNS}}
    try:
        told = helm("install", "trial", str(_CHART), "--create-namespace", *_WAIT, values=values)
        yield Trial(helm, values, told)
    finally:
        remove()


def _data(kubectl: Kubectl, secret: str) -> dict[str, str]:
    found: dict[str, str] = kubectl.get("secret", secret, _IN_NAMESPACE)["data"]
    return found


def _released(kubectl: Kubectl) -> set[str]:
    """Everything that carries the release's label, as kind/name."""
    selector = "--selector=app.kubernetes.io/instance=trial"
    found = kubectl.get(_KINDS, "--all-namespaces", selector)["items"]
    found += kubectl.get("namespaces", selector)["items"]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


def test_a_trial_needs_no_values_and_says_what_to_do_next(trial: Trial) -> None:
    """`helm install --wait` ends with every pod ready, and names the next commands."""
    assert "port-forward service/trial-linnet-gateway 50051" in trial.told
    assert "get secret trial-linnet-gateway-token" in trial.told
    assert "linnet demo --server" in trial.told


def test_helm_test_asks_every_service(trial: Trial) -> None:
    """`helm test` succeeds once gateway, evaluator and profiler say that they serve."""
    assert "Succeeded" in trial.helm("test", "trial")


def test_the_gateway_may_do_what_its_role_says_and_no_more(trial: Trial, kubectl: Kubectl) -> None:
    """The API server's own answers for the gateway's account, in its namespaces and beside them."""
    assert trial.told
    account = f"system:serviceaccount:{_NAMESPACE}:trial-linnet-gateway"

    def may(verb: str, resource: str, namespace: str) -> bool:
        asked = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": account,
                "resourceAttributes": _attributes(verb, resource, namespace),
            },
        }
        words = ["create", "--filename=-", "--output=json"]
        return bool(json.loads(kubectl(*words, stdin=json.dumps(asked)))["status"]["allowed"])

    assert may("create", "batch/jobs", _RUNS)
    assert may("create", "/secrets", _RUNS)
    assert may("get", "/pods/log", _RUNS)
    assert not may("get", "/secrets", _RUNS)
    assert not may("list", "/secrets", _RUNS)
    assert not may("create", "/pods", _RUNS)
    assert not may("create", "/pods/exec", _RUNS)
    assert not may("create", "batch/jobs", _NAMESPACE)
    assert not may("get", "/secrets", _NAMESPACE)
    assert not may("list", "/nodes", "")


def _attributes(verb: str, resource: str, namespace: str) -> dict[str, str]:
    group, name, *below = resource.split("/")
    found = {"verb": verb, "group": group, "resource": name, "namespace": namespace}
    return {**found, "subresource": below[0]} if below else found


def test_an_upgrade_keeps_keys_and_a_rollback_takes_it_back(trial: Trial, kubectl: Kubectl) -> None:
    """A second profiler comes and goes; the store's keys and the token stay what they were."""
    secrets = ("trial-linnet-store", "trial-linnet-gateway-token")
    before = [_data(kubectl, secret) for secret in secrets]

    def profilers() -> int:
        found = kubectl.get("deployment", "trial-linnet-profiler", _IN_NAMESPACE)["status"]
        return int(found.get("readyReplicas", 0))

    larger = {**trial.values, "profiler": {**trial.values["profiler"], "replicas": 2}}
    trial.helm("upgrade", "trial", str(_CHART), *_WAIT, values=larger)
    assert profilers() == 2
    trial.helm("rollback", "trial", "1", *_WAIT)
    wait_until(lambda: profilers() == 1, _SETTLE_S, "the rollback is done")
    assert [_data(kubectl, secret) for secret in secrets] == before


def test_uninstalling_leaves_the_claims_and_nothing_else(trial: Trial, kubectl: Kubectl) -> None:
    """What the README says stays is what stays: the volume claims of records and objects."""
    trial.helm("uninstall", "trial", *_WAIT)
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
