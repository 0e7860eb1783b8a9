"""What pods and events say becomes the reason of a failure, case by case."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from linnet.v1 import run_pb2
from linnet_gateway.converters import failure_message
from linnet_gateway.kubernetes.evidence import need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence
from linnet_gateway.kubernetes.terminations import log_lines, pod_failure
from linnet_gateway.sql.codec import dump_failure, load_failure
from linnet_gateway.states import FailureReason as Reason

from tests.support.job_objects import (
    NOW,
    PATIENCE,
    a_job,
    a_pod,
    ago,
    condition,
    ended,
    read,
    unscheduled,
    waiting,
)


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


@pytest.mark.parametrize(
    "line",
    [
        '{"":' + "[" * 1500,
        '{"text": "x", "exception": ' + "[" * 400 + "]" * 400 + "}",
        '{"text": ' + "1" * 5000 + "}",
        '{"a":' * 50_000,
    ],
)
def test_no_line_that_a_pod_prints_breaks_its_reader(line: str) -> None:
    """Nested without end, or longer than any entry of a log: the line is shown, nothing raised."""
    failure = pod_failure(a_pod(**ended(1, message=f"before\n{line}")))
    assert failure is not None
    assert failure.reason is Reason.TRAINER_CRASHED
    assert failure.log_tail[0] == "before"
    assert len(failure.log_tail) == 2


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        ('{"text": "half a pair \\ud800 of it"}', "half a pair ? of it"),
        ('{"text": "nul \\u0000, a bell \\u0007"}', "nul , a bell "),
        ("\x1b[2J\x1b[1;31mred\x1b[0m \x1b]0;a title\x07end\x9b31m", "red end31m"),
        ("10 %\r20 %\tdone \u202etxt", "20 %\tdone txt"),
        ("x" * 3000, "x" * 998 + " …"),
        ("größer als 5 µs ≤ 6 µs", "größer als 5 µs ≤ 6 µs"),
    ],
)
def test_the_last_lines_can_be_stored_sent_and_shown(printed: str, kept: str) -> None:
    """Nothing that a trainer prints spoils its run's record or commands a reader's terminal."""
    failure = pod_failure(a_pod(**ended(1, message=printed)))
    assert failure is not None
    assert failure.log_tail[-1] == kept
    stored = load_failure(dump_failure(failure))
    assert stored is not None
    message = run_pb2.Failure.FromString(failure_message(stored).SerializeToString())
    assert message.log_tail[-1] == kept


@dataclass(frozen=True)
class Stuck:
    """Pods and events of a launch none of whose pods starts, and what they stand for."""

    reason: Reason | None
    words: str = ""
    pods: tuple[dict[str, Any], ...] = ()
    events: tuple[dict[str, Any], ...] = field(default=())


def on_a_node(since_s: float, status: dict[str, Any]) -> dict[str, Any]:
    """Add that the pod has had a node for so long."""
    scheduled = condition("PodScheduled") | {"lastTransitionTime": ago(since_s)}
    return status | {"conditions": [scheduled]}


def ended_ago(seconds: float, exit_code: int) -> dict[str, Any]:
    """Give the status of a pod that ended so long ago."""
    status = ended(exit_code)
    status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = ago(seconds)
    return status


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
    "image pull on a node that was just added": Stuck(
        None, pods=(a_pod(age_s=700, **on_a_node(30, waiting("ErrImagePull", "slow"))),)
    ),
    "image pull on a node that was added long ago": Stuck(
        Reason.IMAGE_PULL,
        "slow",
        (a_pod(age_s=700, **on_a_node(90, waiting("ErrImagePull", "slow"))),),
    ),
    "container being made on a node that was just added": Stuck(
        None, pods=(a_pod(age_s=700, **on_a_node(30, waiting("ContainerCreating"))),)
    ),
    "container never made on a node that was added long ago": Stuck(
        Reason.LAUNCH_FAILED,
        "does not start",
        (a_pod(age_s=700, **on_a_node(90, waiting("ContainerCreating"))),),
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


@dataclass(frozen=True)
class Starved:
    """A Job of two hours whose pods are refused now, and what is said of it."""

    told: bool
    events: tuple[dict[str, Any], ...]
    pods: tuple[dict[str, Any], ...] = ()
    last_pod_s: float | None = None
    status: dict[str, Any] = field(default_factory=dict)


_CRASHED = {"failed": 1}
_TWO_OF_THREE = {"succeeded": 2, "completedIndexes": "0,1"}

STARVED = {
    "never had a pod": Starved(True, (event(_QUOTA),)),
    "the second try of a crashed shard": Starved(
        True, (event(_QUOTA),), (a_pod(**ended_ago(90, 1)),), status=_CRASHED
    ),
    "the second try, refused a moment ago": Starved(
        False, (event(_QUOTA),), (a_pod(**ended_ago(30, 1)),), status=_CRASHED
    ),
    "the last of three": Starved(
        True, (event(_QUOTA),), (a_pod(**ended_ago(90, 0)),), status=_TWO_OF_THREE
    ),
    "the last of three, refused a moment ago": Starved(
        False, (event(_QUOTA),), (a_pod(**ended_ago(30, 0)),), status=_TWO_OF_THREE
    ),
    "a pod that was seen a moment ago and is gone": Starved(
        False, (event(_QUOTA),), last_pod_s=30, status=_TWO_OF_THREE
    ),
    "refused before the pod that crashed ran": Starved(
        False, (event(_QUOTA, at_s=400),), (a_pod(**ended_ago(300, 1)),), status=_CRASHED
    ),
    "a crashed shard that waits for its next try": Starved(
        False, (), (a_pod(**ended_ago(90, 1)),), status=_CRASHED
    ),
}


@pytest.mark.parametrize("name", STARVED)
def test_a_quota_is_told_once_it_refused_for_too_long(name: str) -> None:
    """What counts is how long there has been no pod, however old the launch is."""
    case = STARVED[name]
    job = a_job(3, age_s=7200, active=0, **case.status)
    last_pod_at = None if case.last_pod_s is None else NOW - timedelta(seconds=case.last_pod_s)
    need = need_of(job, NOW, last_pod_at)
    assert need.starved
    evidence = weigh_pods(
        case.pods, case.events, need=need, patience=PATIENCE, now=NOW, earlier=Evidence()
    )
    failure = read(job, evidence).failure
    assert (failure is not None) is case.told
    if failure is not None:
        assert failure.reason is Reason.QUOTA_EXCEEDED
        assert "memory=8Gi" in failure.message
