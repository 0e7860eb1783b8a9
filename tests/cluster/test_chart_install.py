"""The README's section on Kubernetes, word for word; then the trial is upgraded and goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import readme_section
from testbed.cluster import Cluster
from testbed.helm import Helm
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_CHART = Path(__file__).parents[2] / "deploy" / "helm" / "linnet"
_NAMESPACE = "linnet"
_RUNS = "linnet-runs"
_IN_NAMESPACE = f"--namespace={_NAMESPACE}"
_WAIT = ("--wait", "--timeout=5m")
_SETTLE_S = 180.0
_KINDS = (
    "deployments,services,serviceaccounts,secrets,configmaps,poddisruptionbudgets,networkpolicies,"
    "roles,rolebindings,persistentvolumeclaims,horizontalpodautoscalers,jobs,pods,leases"
)
_TITLE = "On Kubernetes"


@dataclass(frozen=True, slots=True)
class Trial:
    """The installation of the README, with the built-in store and SQLite.

    Attributes:
        helm: For its namespace.
        told: What its commands printed.
    """

    helm: Helm
    told: str


@pytest.fixture(scope="module")
def trial(
    own_testbed: Cluster,
    kubectl: Kubectl,
    helm_in: Callable[[str], Helm],
    service_images: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    """The section followed from its first command to its last; its namespaces go at the end."""
    assert service_images
    helm = helm_in(_NAMESPACE)

    def remove() -> None:
        helm("uninstall", "linnet", *_WAIT, "--ignore-not-found")
        kubectl("delete", "namespace", _NAMESPACE, _RUNS, "--ignore-not-found")

    remove()
    try:
        told = readme_section.follow(
            "\n".join(readme_section.blocks(_TITLE)),
            tmp_path_factory.mktemp("reader"),
            own_testbed.kubeconfig,
            own_testbed.program_folders(),
        )
        yield Trial(helm, told)
    finally:
        remove()


def _data(kubectl: Kubectl, secret: str) -> dict[str, str]:
    found: dict[str, str] = kubectl.get("secret", secret, _IN_NAMESPACE)["data"]
    return found


def _released(kubectl: Kubectl) -> set[str]:
    """Everything that carries the release's label, as kind/name."""
    selector = "--selector=app.kubernetes.io/instance=linnet"
    found = kubectl.get(_KINDS, "--all-namespaces", selector)["items"]
    found += kubectl.get("namespaces", selector)["items"]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


def test_the_readme_leads_from_the_sources_to_a_model(trial: Trial) -> None:
    """Its commands build, install, check, reach, train and list, and none of them fails."""
    assert len(readme_section.blocks(_TITLE)) == 3
    assert trial.told.count("Succeeded") == 1
    assert "SUCCEEDED in" in trial.told
    assert "model.int8.tflite" in trial.told


def test_the_trial_starts_without_a_crash(trial: Trial, kubectl: Kubectl) -> None:
    """Store and services start together; who needs another that is not there yet waits for it."""
    assert trial.told
    pods = kubectl.get("pods", _IN_NAMESPACE)["items"]
    restarts = {
        status["name"]: status["restartCount"]
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }
    assert restarts == dict.fromkeys(("evaluator", "gateway", "profiler", "store"), 0)


def test_the_notes_name_the_next_commands(trial: Trial) -> None:
    """What Helm says after an installation leads on: reach it, take the token, train."""
    assert "port-forward service/linnet-gateway 50051" in trial.told
    assert "get secret linnet-gateway-token" in trial.told
    assert "linnet demo --server" in trial.told


def test_the_gateway_may_do_what_its_role_says_and_no_more(trial: Trial, kubectl: Kubectl) -> None:
    """The API server's own answers for the gateway's account, in its namespaces and beside them."""
    assert trial.told
    account = f"system:serviceaccount:{_NAMESPACE}:linnet-gateway"

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
    secrets = ("linnet-store", "linnet-gateway-token")
    before = [_data(kubectl, secret) for secret in secrets]

    def profilers() -> int:
        found = kubectl.get("deployment", "linnet-profiler", _IN_NAMESPACE)["status"]
        return int(found.get("readyReplicas", 0))

    words = ("--reuse-values", "--set=profiler.replicas=2", *_WAIT)
    trial.helm("upgrade", "linnet", str(_CHART), *words)
    assert profilers() == 2
    trial.helm("rollback", "linnet", "1", *_WAIT)
    wait_until(lambda: profilers() == 1, _SETTLE_S, "the rollback is done")
    assert [_data(kubectl, secret) for secret in secrets] == before


def test_uninstalling_leaves_the_claims_and_nothing_else(trial: Trial, kubectl: Kubectl) -> None:
    """What the README says stays is what stays: the volume claims of records and objects."""
    trial.helm("uninstall", "linnet", *_WAIT)
    claims = {
        "PersistentVolumeClaim/linnet-gateway-records",
        "PersistentVolumeClaim/linnet-store-data",
    }
    wait_until(
        lambda: _released(kubectl) == claims,
        _SETTLE_S,
        "nothing but the claims is left",
        detail=lambda: str(_released(kubectl) - claims),
    )
