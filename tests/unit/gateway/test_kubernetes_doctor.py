"""What the cluster doctor reads and how it judges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from linnet_gateway.kubernetes import probe_script
from linnet_gateway.kubernetes.checkup import (
    Finding,
    Installation,
    Verdict,
    check_replicas,
    read_installation,
)
from linnet_gateway.kubernetes.doctor import doctor, render
from linnet_gateway.kubernetes.probe import _manifests, judge
from linnet_gateway.kubernetes.settings import KubernetesSettings

SETTINGS = KubernetesSettings(trainer_image="trainer:1", gateway_address="gateway.linnet:50052")
INSTALLATION = Installation("linnet", "linnet-gateway", SETTINGS, ready=1, wanted=1)
SAFE: dict[str, Any] = {
    "reach": {"gateway": True, "api server": False, "node metadata": False, "internet": False},
    "resolves": False,
    "user": 10001,
    "root_writable": False,
    "scratch_writable": True,
    "api_token": False,
    "no_new_privileges": True,
    "capabilities": "",
    "seccomp": "2",
    "landlock": 4,
    "kernel": "6.1",
}


def failed(findings: list[Finding]) -> list[str]:
    return [one.check for one in findings if one.verdict is not Verdict.OK]


def test_a_safe_pod_has_nothing_to_complain_of() -> None:
    """Where every protection holds every line is ok."""
    assert failed(judge(SAFE, "6.1", INSTALLATION)) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"reach": SAFE["reach"] | {"gateway": False}}, "trainers reach the gateway"),
        ({"reach": SAFE["reach"] | {"api server": True}}, "trainers can't reach the api server"),
        (
            {"reach": SAFE["reach"] | {"node metadata": True}},
            "trainers can't reach the node metadata",
        ),
        ({"reach": SAFE["reach"] | {"internet": True}}, "trainers can't reach the internet"),
        ({"user": 0}, "trainers have no privileges"),
        ({"capabilities": "00000000a80425fb"}, "trainers have no privileges"),
        ({"no_new_privileges": False}, "trainers have no privileges"),
        ({"seccomp": "0"}, "trainers have no privileges"),
        ({"root_writable": True}, "the root file system is read-only"),
        ({"api_token": True}, "trainers hold no API-server token"),
        ({"scratch_writable": False}, "trainers can write to /tmp"),
        ({"landlock": 0}, "scripts can be confined inside their pod"),
    ],
)
def test_each_hole_is_named(change: dict[str, Any], check: str) -> None:
    """One protection that does not hold fails exactly its own line."""
    assert failed(judge(SAFE | change, "6.1", INSTALLATION)) == [check]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"expert_without_sandbox": True}, Verdict.FAILED),
        ({"expert_without_sandbox": True, "expert_runtime_class": "gvisor"}, Verdict.WARNING),
        ({}, Verdict.WARNING),
    ],
)
def test_no_landlock_is_a_failure_where_nothing_else_confines_scripts(
    change: dict[str, Any], verdict: Verdict
) -> None:
    """A kernel of its own, or no scripts at all, makes up for it; nothing at all does not."""
    installed = replace(INSTALLATION, settings=SETTINGS.model_copy(update=change))
    (found,) = (
        one
        for one in judge(SAFE | {"landlock": 0}, "6.6", installed)
        if one.check == "scripts can be confined inside their pod"
    )
    assert found.verdict is verdict


def test_a_sandbox_that_shares_the_kernel_is_told() -> None:
    """With a RuntimeClass for scripts the pod's kernel must not be the node's."""
    sandboxed = replace(
        INSTALLATION, settings=SETTINGS.model_copy(update={"expert_runtime_class": "gvisor"})
    )
    assert failed(judge(SAFE, "6.1", sandboxed)) == ["scripts have a kernel of their own"]
    assert failed(judge(SAFE, "6.6", sandboxed)) == []


def test_the_deployed_settings_are_read_from_the_deployment() -> None:
    """The doctor looks at what is installed, not at what somebody types."""
    env = {
        "LINNET_KUBERNETES_TRAINER_IMAGE": "trainer:2",
        "LINNET_KUBERNETES_GATEWAY_ADDRESS": "g:1",
        "LINNET_KUBERNETES_NAMESPACE": "elsewhere",
        "LINNET_KUBERNETES_NODE_SELECTOR": '{"pool": "a"}',
        "LINNET_KUBERNETES_EXPERT_WITHOUT_SANDBOX": "false",
        "OTHER": "x",
    }
    listed = [{"name": name, "value": value} for name, value in env.items()]
    deployment = {
        "metadata": {"namespace": "linnet"},
        "spec": {
            "replicas": 2,
            "template": {"spec": {"serviceAccountName": "g", "containers": [{"env": listed}]}},
        },
        "status": {"readyReplicas": 1},
    }
    found = read_installation(deployment)
    assert found is not None
    assert found.settings.namespace == "elsewhere"
    assert found.settings.node_selector == {"pool": "a"}
    assert found.settings.expert_without_sandbox is False
    assert (found.account, found.ready, found.wanted) == ("g", 1, 2)
    assert check_replicas(found).verdict is Verdict.FAILED
    deployment["spec"]["template"]["spec"]["containers"] = [{}]  # type: ignore[index]
    assert read_installation(deployment) is None


def test_the_probe_is_a_trainer_to_policies_and_a_stranger_to_the_gateway() -> None:
    """Its pod has a trainer's labels and confinement; its Job is none that the gateway counts."""
    job, _ = _manifests(INSTALLATION, {"reach": {}, "resolve": "x"}, expert=False)
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "linnet-gateway"
    assert "app.kubernetes.io/managed-by" not in job["metadata"]["labels"]
    assert pod["spec"]["containers"][0]["command"][:2] == ["python3", "-c"]


def test_the_probe_script_runs_by_itself() -> None:
    """The script needs the standard library alone and tells what it can reach."""
    asked = {"reach": {"nobody": "127.0.0.1:1"}, "resolve": "name.invalid"}
    source = Path(probe_script.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-I", "-c", source],
        env={"LINNET_PROBE": json.dumps(asked), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["reach"] == {"nobody": False}
    assert said["resolves"] is False
    assert said["user"] == os.getuid()
    assert said["landlock"] == probe_script.landlock_abi()


def test_findings_are_lines() -> None:
    """For people one line each with what it rests on; as JSON one object each."""
    finding = Finding("x", Verdict.FAILED, "why", "RBAC")
    assert render([finding], json_lines=False) == "FAILED   x: why  [RBAC]\n"
    assert json.loads(render([finding], json_lines=True))["verdict"] == "FAILED"


def test_the_doctor_says_what_it_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without --cluster, and without credentials, it ends with a line that says so."""
    with pytest.raises(SystemExit) as ended:
        doctor()
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        doctor(cluster=True, kubeconfig=str(tmp_path / "none"))
    assert ended.value.code == 1
    assert "kubeconfig: no credentials" in capsys.readouterr().err
