"""What the cluster doctor reads and how it judges."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
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
from linnet_gateway.kubernetes.probe import _manifests
from linnet_gateway.kubernetes.probe_findings import Node, judge
from linnet_gateway.kubernetes.probe_targets import NAME_SERVERS, SHUT
from linnet_gateway.kubernetes.settings import KubernetesSettings

SETTINGS = KubernetesSettings(trainer_image="trainer:1", gateway_address="gateway.linnet:50052")
INSTALLATION = Installation("linnet", "linnet-gateway", SETTINGS, ready=1, wanted=1)
SAFE: dict[str, Any] = {
    "reach": {"gateway": True, **dict.fromkeys(SHUT, False)},
    "answered": {NAME_SERVERS: False},
    "resolves": False,
    "user": 10001,
    "root_writable": False,
    "scratch_writable": True,
    "api_token": False,
    "no_new_privileges": True,
    "capabilities": "",
    "seccomp": "2",
    "landlock": 4,
    "pids_limit": 0,
    "host_users": False,
    "kernel": "6.1",
}
NODE = Node("n1", "6.1", pids_limit=1024)


def failed(findings: list[Finding]) -> list[str]:
    return [one.check for one in findings if one.verdict is not Verdict.OK]


def test_a_safe_pod_has_nothing_to_complain_of() -> None:
    """Where every protection holds every line is ok."""
    assert failed(judge(SAFE, NODE, INSTALLATION)) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"reach": SAFE["reach"] | {"gateway": False}}, "trainers reach the gateway"),
        *(
            ({"reach": SAFE["reach"] | {name: True}}, f"trainers can't reach the {name}")
            for name in SHUT
        ),
        ({"answered": {NAME_SERVERS: True}}, f"trainers can't reach the {NAME_SERVERS}"),
        ({"host_users": True}, "trainers have a user namespace of their own"),
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
    assert failed(judge(SAFE | change, NODE, INSTALLATION)) == [check]


def _finding(check: str, said: dict[str, Any], node: Node, **settings: Any) -> Finding:
    installed = replace(INSTALLATION, settings=SETTINGS.model_copy(update=settings))
    (found,) = (one for one in judge(said, node, installed) if one.check == check)
    return found


def test_a_hole_in_a_policy_is_told_from_a_missing_engine() -> None:
    """Where pods beside it can't be reached the engine works, and a policy is to blame."""
    check = "trainers can't reach the internet"
    opened = SAFE | {"reach": SAFE["reach"] | {"internet": True}}
    assert "networkPolicy.store.peers" in _finding(check, opened, NODE).rests_on
    everything = SAFE | {"reach": dict.fromkeys(SAFE["reach"], True)}
    assert "plug-in" in _finding(check, everything, NODE).rests_on


def test_what_was_not_tried_is_told() -> None:
    """A release without a ready evaluator says nothing about the way to it."""
    reach = {name: reached for name, reached in SAFE["reach"].items() if name != "evaluator"}
    found = _finding("trainers can't reach the evaluator", SAFE | {"reach": reach}, NODE)
    assert (found.verdict, found.detail[:17]) == (Verdict.WARNING, "nothing was tried")


@pytest.mark.parametrize(
    ("seen", "limit", "settings", "verdict", "told"),
    [
        (0, 4096, {}, Verdict.OK, "4096 on node n1"),
        (512, 4096, {}, Verdict.OK, "512 on node n1"),
        (0, 0, {}, Verdict.WARNING, "set podPidsLimit"),
        (0, 0, {"expert_runtime_class": "gvisor"}, Verdict.FAILED, "set podPidsLimit"),
        (0, 0, {"expert_without_sandbox": True}, Verdict.FAILED, "set podPidsLimit"),
        (0, None, {"expert_without_sandbox": True}, Verdict.WARNING, "nodes/proxy"),
    ],
)
def test_a_pod_without_a_process_limit_is_told(
    seen: int, limit: int | None, settings: dict[str, Any], verdict: Verdict, told: str
) -> None:
    """The kubelet's limit or the pod's own will do; none at all fails where scripts may run."""
    node = replace(NODE, pids_limit=limit)
    found = _finding("a pod's processes are bounded", SAFE | {"pids_limit": seen}, node, **settings)
    assert found.verdict is verdict
    assert told in found.detail


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({}, Verdict.WARNING),
        ({"host_users": True}, Verdict.WARNING),
        ({"host_users": False}, Verdict.FAILED),
        ({"host_users": False, "expert_runtime_class": "gvisor"}, Verdict.WARNING),
    ],
)
def test_a_user_namespace_that_was_asked_for_and_is_none_fails(
    settings: dict[str, Any], verdict: Verdict
) -> None:
    """Nodes that can't give one leave it out without a word; a sandbox has users of its own."""
    check = "trainers have a user namespace of their own"
    assert _finding(check, SAFE | {"host_users": True}, NODE, **settings).verdict is verdict
    assert _finding(check, SAFE, NODE, **settings).verdict is Verdict.OK


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
    check = "scripts can be confined inside their pod"
    assert _finding(check, SAFE | {"landlock": 0}, NODE, **change).verdict is verdict


def test_a_sandbox_that_shares_the_kernel_is_told() -> None:
    """With a RuntimeClass for scripts the pod's kernel must not be the node's."""
    sandboxed = replace(
        INSTALLATION, settings=SETTINGS.model_copy(update={"expert_runtime_class": "gvisor"})
    )
    assert failed(judge(SAFE, NODE, sandboxed)) == ["scripts have a kernel of their own"]
    assert failed(judge(SAFE, replace(NODE, kernel="6.6"), sandboxed)) == []


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
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        threading.Thread(target=_answer_once, args=(server,)).start()
        said = _run_script(
            {
                "reach": {"nobody": "127.0.0.1:1"},
                "ask": {
                    "somebody": f"127.0.0.1:{server.getsockname()[1]}",
                    "nobody": "127.0.0.1:1",
                },
                "resolve": "name.invalid",
            }
        )
    assert said["reach"] == {"nobody": False}
    assert said["answered"] == {"somebody": True, "nobody": False}
    assert said["resolves"] is False
    assert said["user"] == os.getuid()
    assert said["landlock"] == probe_script.landlock_abi()
    assert said["host_users"] == probe_script.host_users()


def _answer_once(server: socket.socket) -> None:
    """Answer one question of a name server's client with itself."""
    question, client = server.recvfrom(512)
    server.sendto(question, client)


def _run_script(asked: dict[str, Any]) -> dict[str, Any]:
    source = Path(probe_script.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-I", "-c", source],
        env={"LINNET_PROBE": json.dumps(asked), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


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
