"""Jobs and pods as the API server tells them, and what the launcher reads from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.evidence import need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence, read_launch
from linnet_gateway.kubernetes.obstacles import Patience
from linnet_gateway.launches.launcher import LaunchStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE = Patience(image_pull_s=60, unschedulable_s=60, quota_s=60, start_s=60)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def a_job(completions: int = 1, *, age_s: float = 100, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "linnet-l-one",
            "uid": "job-uid",
            "labels": {marks.LAUNCH: "l-one"},
            "annotations": {marks.PREPARED: "true"},
            "creationTimestamp": ago(age_s),
        },
        "spec": {"completions": completions, "parallelism": completions, "suspend": False},
        "status": {"startTime": ago(age_s), **status},
    }


def condition(kind: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def a_pod(index: int = 0, *, age_s: float = 100, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"linnet-l-one-{index}-abcde",
            "uid": f"pod-{index}-{age_s}",
            "labels": {marks.LAUNCH: "l-one", marks.COMPLETION_INDEX: str(index)},
            "creationTimestamp": ago(age_s),
        },
        "spec": {
            "containers": [
                {"name": "trainer", "resources": {"limits": {"memory": "1073741824"}}},
            ]
        },
        "status": status,
    }


def ended(exit_code: int, reason: str = "Error", message: str = "", **more: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "containerStatuses": [{"name": "trainer", "state": state}],
        **more,
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "containerStatuses": [{"name": "trainer", "image": "trainer:1", "state": state}],
    }


def unscheduled(reason: str, message: str) -> dict[str, Any]:
    said = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"phase": "Pending", "conditions": [said]}


def read(job: dict[str, Any], evidence: Evidence = Evidence()) -> LaunchStatus:  # noqa: B008
    status = read_launch(job, evidence, NOW)
    assert status is not None
    return status


def weigh(job: dict[str, Any], *pods: dict[str, Any], earlier: Evidence = Evidence()) -> Evidence:  # noqa: B008
    need = need_of(job, NOW)
    return weigh_pods(pods, [], need=need, patience=PATIENCE, now=NOW, earlier=earlier)
