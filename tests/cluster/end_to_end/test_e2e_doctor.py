"""`linnet doctor --cluster` on a real installation tells what holds and what does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from linnet_gateway.kubernetes.probe_script import landlock_abi
from product import Product

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

# The testbed has no engine that enforces NetworkPolicies, and the doctor must say so.
_NOT_HERE = {
    "trainers can't reach the api server",
    "trainers can't reach the gateway's public port",
    "trainers can't reach the evaluator",
    "trainers can't reach the profiler",
}
_HOLDS = {
    "Kubernetes version",
    "gateway",
    "runs namespace",
    "privileged pods",
    "rights that the gateway needs",
    "rights that the gateway must not have",
    "rights of trainers",
    "network policies",
    "trainers reach the gateway",
    "trainers have no privileges",
    "the root file system is read-only",
    "trainers hold no API-server token",
    "trainers can write to /tmp",
}


def test_the_doctor_names_what_holds_and_what_needs_more(product: Product) -> None:
    """Protections of Kubernetes itself hold; the missing policy engine is found and named."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "linnet_sdk",
            "doctor",
            "--cluster",
            "--json-lines",
            "--namespace",
            product.release.namespace,
        ],
        env={**os.environ, "KUBECONFIG": str(product.kubectl.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}
    verdicts = {name: one["verdict"] for name, one in found.items()}
    assert {name for name in _HOLDS if verdicts[name] != "OK"} == set(), done.stdout
    assert {verdicts[name] for name in _NOT_HERE} == {"FAILED"}
    assert "NetworkPolicies" in found["trainers can't reach the api server"]["rests_on"]
    assert verdicts["sandbox of user scripts"] == "WARNING"
    # The node's kubelet was asked, and sets no limit unless the machine's control groups do.
    assert verdicts["a pod's processes are bounded"] in {"OK", "FAILED"}
    assert verdicts["trainers have a user namespace of their own"] == "WARNING"
    # The node's kernel is this machine's own; the release lets scripts run without a RuntimeClass.
    confinable = verdicts["scripts can be confined inside their pod"]
    assert confinable == ("OK" if landlock_abi() else "FAILED")
    assert "Landlock" in found["scripts can be confined inside their pod"]["rests_on"]


def test_the_doctor_leaves_nothing_behind(product: Product) -> None:
    """After the probe its Job, pod and Secret are gone."""
    jobs = product.kubectl.get(
        "jobs,secrets",
        f"--namespace={product.release.runs}",
        "--selector=app.kubernetes.io/name=linnet-doctor",
    )
    assert jobs["items"] == []
