"""The testbed is a real Kubernetes, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest
from testbed.cluster import Cluster
from testbed.faults import TestbedFault
from testbed.kubectl import Kubectl
from testbed.patience import wait_until
from testbed.places import NODE_ADDRESS, NODE_NAME

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

_SETTLE_S = 60.0
_KUBELET_PORT = 10250


def _pod_spec(image: str, code: str, memory: str = "64Mi") -> dict[str, Any]:
    """A pod of the restricted profile that runs `code` with Python."""
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "main",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-u", "-c", code],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {
                    "requests": {"cpu": "10m", "memory": memory},
                    "limits": {"memory": memory},
                },
            }
        ],
    }


def _pod(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": spec,
    }


def _phase(kubectl: Kubectl, namespace: str, pod: str) -> str:
    return str(kubectl.get("pod", pod, f"--namespace={namespace}")["status"].get("phase"))


def _await_phase(kubectl: Kubectl, namespace: str, pod: str, phase: str) -> None:
    wait_until(
        lambda: _phase(kubectl, namespace, pod) == phase,
        _SETTLE_S,
        f"pod {pod} is {phase}",
        detail=lambda: kubectl("describe", "pod", pod, f"--namespace={namespace}")[-1500:],
    )


def _create(kubectl: Kubectl, namespace: str, manifest: dict[str, Any]) -> None:
    kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(manifest))


def test_an_indexed_job_runs_under_restricted_pod_security(
    kubectl: Kubectl, restricted_namespace: str, python_image: str
) -> None:
    """Each index runs its own pod, and an exit code that the policy names fails one index only."""
    code = (
        "import os, sys; index = os.environ['JOB_COMPLETION_INDEX']; print('index', index); "
        "sys.exit(42 if index == '1' else 0)"
    )
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "indexed"},
        "spec": {
            "completionMode": "Indexed",
            "completions": 3,
            "parallelism": 3,
            "backoffLimitPerIndex": 3,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailIndex",
                        "onExitCodes": {
                            "containerName": "main",
                            "operator": "In",
                            "values": [42],
                        },
                    }
                ]
            },
            "template": {"spec": _pod_spec(python_image, code)},
        },
    }
    _create(kubectl, restricted_namespace, job)

    def status() -> dict[str, Any]:
        found = kubectl.get("job", "indexed", f"--namespace={restricted_namespace}")
        return dict(found["status"])

    wait_until(
        lambda: any(one["type"] == "Failed" for one in status().get("conditions", [])),
        _SETTLE_S,
        "the Job ends",
        detail=lambda: str(status()),
    )
    assert (status()["completedIndexes"], status()["failedIndexes"]) == ("0,2", "1")
    assert status()["failed"] == 1, "index 1 was tried again"
    log = kubectl("logs", f"--namespace={restricted_namespace}", "job/indexed", "--all-pods=true")
    assert sorted(re.findall(r"index \d", log)) == ["index 0", "index 1", "index 2"]


def test_a_pod_that_is_not_restricted_is_refused(
    kubectl: Kubectl, restricted_namespace: str, python_image: str
) -> None:
    """Admission names each rule of the restricted profile that a pod breaks."""
    spec = _pod_spec(python_image, "pass")
    spec["securityContext"] = {}
    with pytest.raises(TestbedFault, match=r"restricted:latest.*runAsNonRoot.*seccompProfile"):
        _create(kubectl, restricted_namespace, _pod("loose", spec))


def test_logs_exec_port_forward_and_names_of_services(
    kubectl: Kubectl, restricted_namespace: str, python_image: str
) -> None:
    """What a person does with a pod works, and a Service is found by its name from another pod."""
    serve = (
        "import http.server; print('serving'); "
        "http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)"
    )
    namespace = f"--namespace={restricted_namespace}"
    _create(kubectl, restricted_namespace, _pod("server", _pod_spec(python_image, serve)))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    _create(kubectl, restricted_namespace, service)
    _await_phase(kubectl, restricted_namespace, "server", "Running")
    wait_until(
        lambda: "serving" in kubectl("logs", namespace, "server"), _SETTLE_S, "the pod has a log"
    )
    assert kubectl("exec", namespace, "server", "--", "id", "-u").strip() == "10001"

    ask = (
        "import urllib.request as u; "
        f"print(u.urlopen('http://front.{restricted_namespace}.svc.cluster.local').status)"
    )
    _create(kubectl, restricted_namespace, _pod("client", _pod_spec(python_image, ask)))
    _await_phase(kubectl, restricted_namespace, "client", "Succeeded")
    assert kubectl("logs", namespace, "client").strip() == "200"

    words = kubectl.words("port-forward", namespace, "pod/server", ":8000")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert port, "port-forward names no port"
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}", timeout=10) as answer:
                assert answer.status == 200
        finally:
            forward.terminate()


def test_a_pod_over_its_memory_limit_ends_as_oomkilled(
    kubectl: Kubectl, restricted_namespace: str, python_image: str
) -> None:
    """The kernel ends it with 137 and Kubernetes says why."""
    greedy = _pod("greedy", _pod_spec(python_image, "bytearray(512 * 1024**2)"))
    _create(kubectl, restricted_namespace, greedy)
    _await_phase(kubectl, restricted_namespace, "greedy", "Failed")
    status = kubectl.get("pod", "greedy", f"--namespace={restricted_namespace}")["status"]
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_claim_is_bound_to_a_volume_that_the_pod_can_write(
    kubectl: Kubectl, restricted_namespace: str, python_image: str
) -> None:
    """A claim with no class gets a volume, and a non-root pod with an fsGroup may write to it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    _create(kubectl, restricted_namespace, claim)
    spec = _pod_spec(python_image, "open('/data/file', 'w').write('kept')")
    spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    _create(kubectl, restricted_namespace, _pod("writer", spec))
    _await_phase(kubectl, restricted_namespace, "writer", "Succeeded")
    bound = kubectl.get("persistentvolumeclaim", "data", f"--namespace={restricted_namespace}")
    assert bound["status"]["phase"] == "Bound"


def test_the_kubelet_asks_who_calls(own_testbed: Cluster, kubectl: Kubectl) -> None:
    """Without a certificate the node's own API answers 401; the API server's way to it works."""
    assert own_testbed.ready()
    url = f"https://{NODE_ADDRESS}:{_KUBELET_PORT}/pods"
    trusting = ssl._create_unverified_context()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10, context=trusting)
    assert kubectl("get", "--raw", f"/api/v1/nodes/{NODE_NAME}/proxy/healthz") == "ok"


def test_a_node_may_not_read_what_its_pods_do_not_use(kubectl: Kubectl) -> None:
    """The Node authorizer gives kubelet its own pods' secrets only."""
    asked = ["auth", "can-i", "list", "secrets", "--all-namespaces"]
    who = [f"--as=system:node:{NODE_NAME}", "--as-group=system:nodes"]
    with pytest.raises(TestbedFault):
        kubectl(*asked, *who)
