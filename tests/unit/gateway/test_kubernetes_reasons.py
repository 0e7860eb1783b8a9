"""What Jobs, pods and events say becomes the status of a launch, reason by reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.evidence import Need, need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence, indexes, read_launch
from linnet_gateway.kubernetes.obstacles import Patience
from linnet_gateway.kubernetes.terminations import log_lines, pod_failure
from linnet_gateway.launches.launcher import LaunchStatus, ShardState
from linnet_gateway.states import FailureReason as Reason

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


@dataclass(frozen=True)
class Case:
    """What a pod of shard 0 says and the failure that it stands for."""

    status: dict[str, Any]
    reason: Reason
    words: str
    exit_code: int | None = None


FAILED_PODS = {
    "oom": Case(ended(137, "OOMKilled"), Reason.OUT_OF_MEMORY, "1073741824 bytes", 137),
    "killed": Case(ended(137), Reason.TRAINER_CRASHED, "SIGKILL", 137),
    "segfault": Case(ended(139), Reason.TRAINER_CRASHED, "SIGSEGV", 139),
    "unknown signal": Case(ended(255), Reason.TRAINER_CRASHED, "signal 127", 255),
    "crashed": Case(ended(1), Reason.TRAINER_CRASHED, "did not expect", 1),
    "other code": Case(ended(42), Reason.TRAINER_CRASHED, "exit code 42", 42),
    "usage": Case(ended(64), Reason.LAUNCH_FAILED, "version", 64),
    "bad data": Case(ended(65), Reason.INVALID_DATA, "data", 65),
    "unavailable": Case(ended(69), Reason.STORE_UNAVAILABLE, "gateway or the object store", 69),
    "checkpoint lost": Case(ended(75), Reason.EVICTED, "could not save", 75),
    "bad config": Case(ended(78), Reason.LAUNCH_FAILED, "token", 78),
    "terminated": Case(ended(143), Reason.EVICTED, "saved its checkpoint", 143),
    "evicted by the kubelet": Case(
        {"phase": "Failed", "reason": "Evicted", "message": 'emptyDir volume "scratch" is full'},
        Reason.EVICTED,
        "scratch",
    ),
    "drained": Case(
        ended(143, conditions=[condition("DisruptionTarget", "EvictionByEvictionAPI")]),
        Reason.EVICTED,
        "drain",
        143,
    ),
    "preempted": Case(
        ended(137, conditions=[condition("DisruptionTarget", "PreemptionByScheduler")]),
        Reason.EVICTED,
        "priority",
        137,
    ),
    "node lost": Case(
        {"phase": "Failed", "conditions": [condition("DisruptionTarget", "DeletionByPodGC")]},
        Reason.EVICTED,
        "node is gone",
    ),
    "node short of memory": Case(
        ended(137, conditions=[condition("DisruptionTarget", "TerminationByKubelet")]),
        Reason.EVICTED,
        "ran short",
        137,
    ),
    "pod deadline": Case(
        {"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"},
        Reason.DEADLINE_EXCEEDED,
        "deadline",
    ),
    "not started": Case(
        ended(128, "StartError", "exec: no such file"), Reason.LAUNCH_FAILED, "no such file", 128
    ),
    "refused by the node": Case(
        {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device"},
        Reason.LAUNCH_FAILED,
        "no device",
    ),
}


@pytest.mark.parametrize("name", FAILED_PODS)
def test_a_failed_pod_gives_its_reason(name: str) -> None:
    """Each way for a trainer's pod to fail has its reason, exit code and a message for a person."""
    case = FAILED_PODS[name]
    failure = pod_failure(a_pod(**case.status))
    assert failure is not None
    assert failure.reason is case.reason
    assert case.words in failure.message
    assert failure.exit_code == case.exit_code
    assert failure.out_of_memory is (case.reason is Reason.OUT_OF_MEMORY)


@pytest.mark.parametrize("status", [ended(0), {"phase": "Running"}, {"phase": "Pending"}])
def test_a_pod_that_did_not_fail_has_no_failure(status: dict[str, Any]) -> None:
    """Success and life are no failures."""
    assert pod_failure(a_pod(**status)) is None


def test_the_last_lines_come_from_the_end_message() -> None:
    """Lines of the trainer's log are shown by their text, everything else as it is."""
    text = (
        'plain\n{"text": "epoch 3", "n": 1}\n{"event": "died", "exception": "a\\nKeyError: 1"}\n{'
    )
    failure = pod_failure(a_pod(**ended(1, message=text)))
    assert failure is not None
    assert failure.log_tail == ("plain", "epoch 3", "died. KeyError: 1", "{")
    assert len(log_lines("x\n" * 1000)) == 50


@dataclass(frozen=True)
class Stuck:
    """Pods and events of a launch none of whose pods starts, and what they stand for."""

    reason: Reason | None
    words: str = ""
    pods: tuple[dict[str, Any], ...] = ()
    events: tuple[dict[str, Any], ...] = field(default=())


def event(message: str, at_s: float = 1) -> dict[str, Any]:
    return {"reason": "FailedCreate", "message": message, "lastTimestamp": ago(at_s)}


_QUOTA = 'pods "x" is forbidden: exceeded quota: runs, requested: memory=2Gi, used: memory=8Gi'
_NO_NODE = unscheduled("Unschedulable", "0/3 nodes are available: 3 Insufficient memory.")

STUCK = {
    "image pull": Stuck(
        Reason.IMAGE_PULL, "not found", (a_pod(**waiting("ImagePullBackOff", "not found")),)
    ),
    "image pull, young": Stuck(None, pods=(a_pod(age_s=30, **waiting("ErrImagePull")),)),
    "image that may not be pulled": Stuck(
        Reason.IMAGE_PULL, "trainer:1", (a_pod(age_s=1, **waiting("ErrImageNeverPull")),)
    ),
    "image name": Stuck(
        Reason.IMAGE_PULL, "trainer:1", (a_pod(age_s=1, **waiting("InvalidImageName")),)
    ),
    "unschedulable": Stuck(Reason.UNSCHEDULABLE, "Insufficient memory", (a_pod(**_NO_NODE),)),
    "unschedulable, young": Stuck(None, pods=(a_pod(age_s=30, **_NO_NODE),)),
    "held back on purpose": Stuck(None, pods=(a_pod(**unscheduled("SchedulingGated", "")),)),
    "one of two is unschedulable": Stuck(None, pods=(a_pod(**_NO_NODE), a_pod(1, phase="Running"))),
    "container config": Stuck(
        Reason.LAUNCH_FAILED,
        "CreateContainerConfigError",
        (a_pod(**waiting("CreateContainerConfigError", "no secret")),),
    ),
    "container never made": Stuck(
        Reason.LAUNCH_FAILED, "does not start", (a_pod(**waiting("ContainerCreating")),)
    ),
    "container being made": Stuck(None, pods=(a_pod(age_s=30, **waiting("ContainerCreating")),)),
    "quota": Stuck(Reason.QUOTA_EXCEEDED, "memory=8Gi", events=(event(_QUOTA),)),
    "pod security": Stuck(
        Reason.LAUNCH_FAILED, "PodSecurity", events=(event("violates PodSecurity restricted"),)
    ),
    "the latest refusal counts": Stuck(
        Reason.LAUNCH_FAILED, "webhook", events=(event(_QUOTA, 9), event("webhook says no", 1))
    ),
    "nothing said": Stuck(None),
}


@pytest.mark.parametrize("name", STUCK)
def test_pods_that_do_not_start_give_the_launch_a_reason(name: str) -> None:
    """Each obstacle becomes a reason once it lasts too long, unless another pod runs."""
    case = STUCK[name]
    job = a_job(2, active=len(case.pods))
    evidence = weigh_pods(
        case.pods,
        case.events,
        need=need_of(job, NOW),
        patience=PATIENCE,
        now=NOW,
        earlier=Evidence(),
    )
    status = read(job, evidence)
    assert not status.ended
    if case.reason is None:
        assert status.failure is None
    else:
        assert status.failure is not None
        assert status.failure.reason is case.reason
        assert case.words in status.failure.message


def read(job: dict[str, Any], evidence: Evidence = Evidence()) -> LaunchStatus:  # noqa: B008
    status = read_launch(job, evidence, NOW)
    assert status is not None
    return status


def weigh(job: dict[str, Any], *pods: dict[str, Any], earlier: Evidence = Evidence()) -> Evidence:  # noqa: B008
    need = need_of(job, NOW)
    return weigh_pods(pods, [], need=need, patience=PATIENCE, now=NOW, earlier=earlier)


def test_a_complete_job_succeeded() -> None:
    """Complete means that every shard succeeded, whatever failed on the way."""
    job = a_job(2, completedIndexes="0,1", failed=1, conditions=[condition("Complete")])
    status = read(job, weigh(job, a_pod(1, **ended(1))))
    assert status.ended
    assert status.failure is None
    assert [shard.state for shard in status.shards] == [ShardState.SUCCEEDED] * 2
    assert status.shards[1].failure is not None


def test_failed_shards_do_not_fail_the_launch() -> None:
    """With failed indexes alone the launch has no reason of its own; the shard has its pod's."""
    job = a_job(
        3,
        completedIndexes="0,2",
        failedIndexes="1",
        failed=4,
        conditions=[
            condition("FailureTarget", "FailedIndexes"),
            condition("Failed", "FailedIndexes"),
        ],
    )
    status = read(job, weigh(job, a_pod(1, age_s=50, **ended(65)), a_pod(1, age_s=90, **ended(1))))
    assert status.ended
    assert status.failure is None
    states = [shard.state for shard in status.shards]
    assert states == [ShardState.SUCCEEDED, ShardState.FAILED, ShardState.SUCCEEDED]
    assert status.shards[1].failure is not None
    assert status.shards[1].failure.reason is Reason.INVALID_DATA


def test_a_failed_shard_whose_pod_is_gone_says_so() -> None:
    """Nothing is made up where nothing is known."""
    job = a_job(1, failedIndexes="0", failed=1, conditions=[condition("Failed", "FailedIndexes")])
    failure = read(job).shards[0].failure
    assert failure is not None
    assert "pod is gone" in failure.message


@pytest.mark.parametrize("kind", ["FailureTarget", "Failed"])
def test_a_deadline_fails_launch_and_unfinished_shards(kind: str) -> None:
    """The deadline is the launch's reason as soon as it passed; ended only when no pod is left."""
    job = a_job(2, completedIndexes="0", conditions=[condition(kind, "DeadlineExceeded")])
    status = read(job)
    assert status.ended is (kind == "Failed")
    assert status.failure is not None
    assert status.failure.reason is Reason.DEADLINE_EXCEEDED
    if status.ended:
        assert [s.state for s in status.shards] == [ShardState.SUCCEEDED, ShardState.FAILED]
        assert status.shards[1].failure == status.failure


def test_any_other_job_failure_is_told_in_its_own_words() -> None:
    """A reason that is not foreseen still ends the launch and is shown."""
    job = a_job(1, conditions=[condition("Failed", "NewReason", "because")])
    failure = read(job).failure
    assert failure is not None
    assert failure.reason is Reason.LAUNCH_FAILED
    assert "NewReason. because" in failure.message


def test_a_job_deleted_by_hand_is_told() -> None:
    """A Job that somebody else deletes ends as LAUNCH_DELETED once it is gone."""
    job = a_job(1, active=1)
    job["metadata"]["deletionTimestamp"] = ago(1)
    status = read(job)
    assert not status.ended
    assert status.failure is not None
    assert status.failure.reason is Reason.LAUNCH_DELETED


def test_a_job_that_the_gateway_stops_has_no_failure() -> None:
    """Our own stop is told without a reason and not as ended, and left out once nothing runs."""
    job = a_job(1, active=1)
    job["metadata"]["deletionTimestamp"] = ago(1)
    job["metadata"]["annotations"][marks.STOPPING] = "true"
    status = read(job)
    assert not status.ended
    assert status.failure is None
    job["status"]["conditions"] = [condition("Failed", "DeadlineExceeded")]
    assert read_launch(job, Evidence(), NOW) is None


def test_a_retried_shard_keeps_its_failure() -> None:
    """While a shard waits for its next try, or runs again, the last failure stays visible."""
    job = a_job(1, active=0, failed=1)
    evidence = weigh(job, a_pod(**ended(137, "OOMKilled")))
    waits = read(job, evidence).shards[0]
    assert waits.state is ShardState.PENDING
    assert waits.failure is not None
    job = a_job(1, active=1, ready=1, failed=1)
    runs = read(job, weigh(job, a_pod(phase="Running"), earlier=evidence)).shards[0]
    assert runs.state is ShardState.RUNNING
    assert runs.failure == waits.failure


def test_the_newest_failure_of_a_shard_counts() -> None:
    """Of several failed pods of a shard the youngest gives the reason."""
    job = a_job(1, failed=2)
    pods = (a_pod(age_s=10, **ended(69)), a_pod(age_s=50, **ended(1)))
    assert weigh(job, *pods).failures[0].exit_code == 69


def test_a_job_half_made_is_not_told_until_it_is_clear_that_nobody_makes_it() -> None:
    """A Job without its Secret is left out at first, and ends as LAUNCH_FAILED when abandoned."""
    young = a_job(1, age_s=10)
    old = a_job(1, age_s=1000)
    for job in (young, old):
        del job["metadata"]["annotations"]
    assert read_launch(young, Evidence(), NOW) is None
    status = read(old)
    assert status.ended
    assert status.failure is not None
    assert status.failure.reason is Reason.LAUNCH_FAILED


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (a_job(1, active=1, ready=1), Need((), waiting=False, starved=False, waited_s=100)),
        (a_job(1, active=1), Need((), waiting=True, starved=False, waited_s=100)),
        (a_job(1, active=1, age_s=1), Need((), waiting=False, starved=False, waited_s=1)),
        (a_job(1), Need((), waiting=False, starved=True, waited_s=100)),
        (a_job(1, failed=1), Need((1, "", 0, False), waiting=False, starved=False, waited_s=100)),
        (
            a_job(1, failed=1, failedIndexes="0", conditions=[condition("Failed")]),
            Need((1, "0", 0, True), waiting=False, starved=False, waited_s=0),
        ),
    ],
)
def test_pods_are_read_only_for_a_reason(job: dict[str, Any], expected: Need) -> None:
    """Healthy Jobs cost no call; failures, slow starts and missing pods do."""
    assert need_of(job, NOW) == expected


def test_index_lists_are_read() -> None:
    """Kubernetes' compressed lists of indexes are read in full."""
    assert indexes("") == indexes(None) == frozenset()
    assert indexes("0-3,7,9-10") == {0, 1, 2, 3, 7, 9, 10}


@pytest.mark.parametrize(
    ("conditions", "words"),
    [([condition("DisruptionTarget", "EvictionByEvictionAPI")], "drain"), ([], "deleted")],
)
def test_a_pod_that_is_asked_to_stop_is_told_while_it_runs(
    conditions: list[dict[str, str]], words: str
) -> None:
    """A pod with a time to go still runs, and its shard's failure will be an eviction."""
    pod = a_pod(phase="Running", conditions=conditions)
    pod["metadata"]["deletionTimestamp"] = ago(1)
    need = Need(failures=(0, "", 1, False), waiting=False, starved=False, waited_s=0.0)
    found = weigh_pods([pod], [], need=need, patience=PATIENCE, now=NOW, earlier=Evidence())
    assert found.running == {0}
    assert found.failures[0].reason is Reason.EVICTED
    assert words in found.failures[0].message


def test_a_pod_that_nobody_stops_has_no_failure() -> None:
    """A running pod without a time to go leaves its shard without a failure."""
    need = Need(failures=(0, "", 1, False), waiting=False, starved=False, waited_s=0.0)
    pods = [a_pod(phase="Running")]
    found = weigh_pods(pods, [], need=need, patience=PATIENCE, now=NOW, earlier=Evidence())
    assert found.failures == {}
