"""What a launch looks like in Kubernetes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.manifests import build_job, build_secret
from linnet_gateway.kubernetes.settings import Ceiling, KubernetesSettings, Toleration
from linnet_gateway.launches.launcher import Launch
from linnet_runtime.errors import InvalidInput, NotAllowedInState, QuotaExceeded
from linnet_runtime.lifecycle import ExitCode

_GOLDEN = Path(__file__).parents[2] / "golden" / "jobs"
_SECRET = "launch-token-of-the-test"
_KUBERNETES = "1.34"

SETTINGS = KubernetesSettings(
    trainer_image="registry.example/linnet/trainer@sha256:" + "a" * 64,
    gateway_address="linnet-gateway-runner.linnet:50052",
)
SINGLE = Launch(
    uid="launch-3f9a0c21b7d4",
    project="demo",
    shard_count=1,
    parallelism=1,
    token=_SECRET,
    deadline=timedelta(minutes=30),
    cpu_millis=1000,
    memory_bytes=2 * 1024**3,
    expert=False,
    labels={},
    spec_digest="0123456789abcdef" * 4,
)
BATCH = replace(
    SINGLE,
    uid="launch-b",
    shard_count=200,
    parallelism=40,
    deadline=None,
    labels={"batch": "retrain-all"},
)
EXPERT = replace(SINGLE, uid="launch-e", expert=True)
PLACED = SETTINGS.model_copy(
    update={
        "priority_class": "training",
        "node_selector": {"pool": "training"},
        "tolerations": (Toleration(key="training", operator="Exists", effect="NoSchedule"),),
        "expert_runtime_class": "gvisor",
        "expert_node_selector": {"sandbox": "gvisor"},
        "expert_tolerations": (Toleration(key="sandbox", value="gvisor"),),
        "expert_host_aliases": {"gateway.linnet": "10.0.0.7", "store.linnet": "10.0.0.8"},
        "host_users": False,
        "image_pull_secrets": ("registry",),
        "gateway_ca_secret": "linnet-ca",
    }
)
QUEUED = SETTINGS.model_copy(update={"queue_name": "training"})

CASES = {
    "single": (SINGLE, SETTINGS),
    "batch": (BATCH, SETTINGS),
    "queued": (BATCH, QUEUED),
    "placed": (SINGLE, PLACED),
    "expert": (EXPERT, PLACED),
}


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", CASES)
def test_the_job_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    """Every field of each kind of launch is as reviewed; --update-golden writes them anew."""
    made = yaml.safe_dump(build_job(*CASES[name]), sort_keys=False)
    path = _GOLDEN / f"{name}.yaml"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made)
    assert made == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_jobs_and_secrets_satisfy_the_schema(name: str) -> None:
    """Kubernetes' own schema, read strictly, knows every field."""
    launch, settings = CASES[name]
    kubernetes_validate.validate(build_job(launch, settings), _KUBERNETES, strict=True)
    kubernetes_validate.validate(build_secret(launch, "uid", settings), _KUBERNETES, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_the_token_is_in_the_secret_alone(name: str) -> None:
    """Whoever reads Jobs and pods learns no token."""
    launch, settings = CASES[name]
    assert _SECRET not in json.dumps(build_job(launch, settings))
    secret = build_secret(launch, "job-uid", settings)
    assert secret["stringData"] == {"token": _SECRET}
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "job-uid"


@pytest.mark.parametrize("name", CASES)
def test_pods_keep_to_the_restricted_profile(name: str) -> None:
    """No root, no capability, no escalation, no service-account token, no writable root."""
    pod = pod_of(build_job(*CASES[name]))
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["limits"]) == {"memory", "ephemeral-storage"}
        assert container["resources"]["requests"]["memory"] == str(CASES[name][0].memory_bytes)
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "secret"}


def test_disruptions_are_ignored_before_exit_codes_are_judged() -> None:
    """An evicted trainer counts as no failure; hopeless exit codes end their shard at once."""
    rules = build_job(SINGLE, SETTINGS)["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    hopeless = [ExitCode.USAGE, ExitCode.BAD_DATA, ExitCode.BAD_CONFIG]
    assert rules[1]["onExitCodes"]["values"] == [int(code) for code in hopeless]


def test_a_launch_starts_suspended() -> None:
    """No pod is made before its Secret is."""
    assert build_job(SINGLE, SETTINGS)["spec"]["suspend"] is True


@pytest.mark.parametrize(
    ("launch", "field"),
    [
        (replace(SINGLE, memory_bytes=16 * 1024**3 + 1), "memory_bytes"),
        (replace(SINGLE, cpu_millis=8001), "cpu_millis"),
        (replace(SINGLE, deadline=timedelta(days=2)), "deadline"),
    ],
)
def test_more_than_the_ceiling_is_refused(launch: Launch, field: str) -> None:
    """Asking for more than the project may have fails before anything is made."""
    with pytest.raises(QuotaExceeded) as refused:
        build_job(launch, SETTINGS)
    assert refused.value.metadata["field"] == field


def test_a_project_has_a_ceiling_of_its_own() -> None:
    """A project's own ceiling replaces the general one, both ways."""
    settings = SETTINGS.model_copy(
        update={"project_ceilings": {"demo": Ceiling(memory_bytes=1024**3, deadline_s=60)}}
    )
    with pytest.raises(QuotaExceeded):
        build_job(SINGLE, settings)
    other = replace(SINGLE, project="other", deadline=None)
    assert build_job(other, settings)["spec"]["activeDeadlineSeconds"] == 24 * 3600


def test_scripts_need_a_sandbox() -> None:
    """A launch with user scripts is refused without a RuntimeClass, unless allowed on purpose."""
    with pytest.raises(NotAllowedInState) as refused:
        build_job(EXPERT, SETTINGS)
    assert refused.value.reason == "EXPERT_SANDBOX_MISSING"
    allowed = SETTINGS.model_copy(update={"expert_without_sandbox": True})
    assert "runtimeClassName" not in pod_of(build_job(EXPERT, allowed))
    assert pod_of(build_job(EXPERT, PLACED))["runtimeClassName"] == "gvisor"
    assert "runtimeClassName" not in pod_of(build_job(SINGLE, PLACED))


def test_pods_at_once_stay_below_the_ceiling() -> None:
    """Parallelism above the project's ceiling waits instead of failing."""
    settings = SETTINGS.model_copy(update={"ceiling": Ceiling(parallelism=10)})
    assert build_job(BATCH, settings)["spec"]["parallelism"] == 10


@pytest.mark.parametrize("uid", ["", "1a", "Upper", "a" * 41, "under_score", "ends-"])
def test_a_uid_that_names_nothing_is_refused(uid: str) -> None:
    """A uid that Kubernetes would refuse fails with the field's name."""
    with pytest.raises(InvalidInput) as refused:
        build_job(replace(SINGLE, uid=uid), SETTINGS)
    assert refused.value.violations[0].field == "launch.uid"


@given(uid=st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True), text=st.text())
def test_names_and_labels_are_valid_for_any_input(uid: str, text: str) -> None:
    """Whatever uid, project and labels come, names and labels are what Kubernetes takes."""
    launch = replace(SINGLE, uid=uid, project=text or "p", labels={"batch": text})
    job = build_job(launch, SETTINGS)
    assert len(job["metadata"]["name"]) <= 52
    for value in job["metadata"]["labels"].values():
        assert len(value) <= 63
        assert value.replace("-", "a").isalnum()
        assert value.isascii()
    assert job["metadata"]["labels"][marks.LAUNCH] == uid


@given(st.sets(st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True), min_size=2))
def test_launches_have_jobs_of_their_own(uids: set[str]) -> None:
    """No two uids share a Job name."""
    assert len({marks.job_name(uid) for uid in uids}) == len(uids)
