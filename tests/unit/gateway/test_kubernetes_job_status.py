"""What Jobs say becomes the status of a launch and of its shards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.evidence import Need, need_of, weigh_pods
from linnet_gateway.kubernetes.jobstatus import Evidence, indexes, read_launch
from linnet_gateway.launches.launcher import ShardState
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
    weigh,
)

SINCE = NOW - timedelta(seconds=100)
"""When the Jobs here began, where they do not say."""


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
        (a_job(1, active=1, ready=1), Need((), waiting=False, starved=False, empty_since=SINCE)),
        (a_job(1, active=1), Need((), waiting=True, starved=False, empty_since=SINCE)),
        (
            a_job(1, active=1, age_s=1),
            Need((), waiting=False, starved=False, empty_since=NOW - timedelta(seconds=1)),
        ),
        (a_job(1), Need((), waiting=False, starved=True, empty_since=SINCE)),
        (
            a_job(1, failed=1),
            Need((1, "", 0, False), waiting=False, starved=True, empty_since=SINCE),
        ),
        (
            a_job(1, succeeded=1, completedIndexes="0"),
            Need((), waiting=False, starved=False, empty_since=SINCE),
        ),
        (
            a_job(1, failed=1, failedIndexes="0", conditions=[condition("Failed")]),
            Need((1, "0", 0, True), waiting=False, starved=False, empty_since=None),
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
    need = Need(failures=(0, "", 1, False), waiting=False, starved=False, empty_since=None)
    found = weigh_pods([pod], [], need=need, patience=PATIENCE, now=NOW, earlier=Evidence())
    assert found.running == {0}
    assert found.failures[0].reason is Reason.EVICTED
    assert words in found.failures[0].message


def test_a_pod_that_nobody_stops_has_no_failure() -> None:
    """A running pod without a time to go leaves its shard without a failure."""
    need = Need(failures=(0, "", 1, False), waiting=False, starved=False, empty_since=None)
    pods = [a_pod(phase="Running")]
    found = weigh_pods(pods, [], need=need, patience=PATIENCE, now=NOW, earlier=Evidence())
    assert found.failures == {}


def test_ends_are_told_by_pod_also_of_those_that_are_gone() -> None:
    """An evicted pod goes; what ended it stays known beside the failures of the pods after it."""
    evicted = a_pod(age_s=90, phase="Running")
    evicted["metadata"]["deletionTimestamp"] = ago(60)
    job = a_job(1, failed=1, active=1)
    seen = weigh(job, evicted)
    crashed, running = a_pod(age_s=50, **ended(3)), a_pod(age_s=10, phase="Running")
    found = weigh(job, crashed, running, earlier=seen)
    (shard,) = read(job, found).shards
    assert {uid: end.reason for uid, end in shard.ended.items()} == {
        "pod-0-90": Reason.EVICTED,
        "pod-0-50": Reason.TRAINER_CRASHED,
    }
