"""Which Jobs are worth a look at their pods, and what the pods tell. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.jobstatus import Evidence, has_ended, indexes, is_prepared
from linnet_gateway.kubernetes.obstacles import Patience, events_obstacle, moment, pod_obstacle
from linnet_gateway.kubernetes.terminations import ended_at, pod_ending, pod_failure
from linnet_gateway.launches.launcher import kept_ends
from linnet_gateway.states import Failure

Object = Mapping[str, Any]

_USUAL_START_S = 3.0
"""Pods that take longer to start than this are looked at."""
LOOK_AGAIN_S = 5.0
"""How often pods that do not start are looked at."""


@dataclass(frozen=True, slots=True)
class Need:
    """Why the pods of a Job should be read.

    Attributes:
        failures: Changes when there may be failures that were not seen yet; empty: there are none.
        waiting: Pods are slow to start.
        starved: There are no pods, and there should be.
        empty_since: When the Job was started, or its last pod was seen; None if it was not.
    """

    failures: tuple[object, ...]
    waiting: bool
    starved: bool
    empty_since: datetime | None


def need_of(job: Object, now: datetime, last_pod_at: datetime | None = None) -> Need:
    """Say what there is to learn from a Job's pods.

    Args:
        job: The Job.
        now: The present time.
        last_pod_at: When the Job last had a pod, as far as anybody saw.
    """
    status = job.get("status", {})
    failed = int(status.get("failed") or 0)
    failed_indexes = str(status.get("failedIndexes") or "")
    terminating = int(status.get("terminating") or 0)
    failures: tuple[object, ...] = ()
    if failed or failed_indexes or terminating:
        failures = (failed, failed_indexes, terminating, has_ended(job))
    since = moment(status.get("startTime"))
    started = since is not None and is_prepared(job) and not job["spec"].get("suspend")
    if since is None or not started or has_ended(job):
        return Need(failures, waiting=False, starved=False, empty_since=None)
    active = int(status.get("active") or 0)
    empty_since = max(since, last_pod_at) if last_pod_at is not None else since
    empty = active == 0 and not terminating and _unfinished(job)
    return Need(
        failures,
        waiting=_late(since, now) and active > int(status.get("ready") or 0),
        starved=_late(empty_since, now) and empty,
        empty_since=empty_since,
    )


def weigh_pods(
    pods: Sequence[Object],
    events: Sequence[Object],
    *,
    need: Need,
    patience: Patience,
    now: datetime,
    earlier: Evidence,
) -> Evidence:
    """Draw together what a launch's pods, and its Job's events, tell.

    Args:
        pods: Every pod of the launch that still exists.
        events: Events of its Job; needed only when it is starved.
        need: Why they were read.
        patience: How long obstacles may last.
        now: The present time.
        earlier: What was known before: failures of pods that are gone since are kept.
    """
    failures: dict[int, Failure] = dict(earlier.failures)
    ended: dict[int, Mapping[str, Failure]] = dict(earlier.ended)
    running: set[int] = set()
    obstacles: list[Failure] = []
    alive = False
    for pod in sorted(pods, key=age_key):
        index = shard_index(pod)
        if index is None:
            continue
        failure = pod_failure(pod)
        end = failure or pod_ending(pod)
        if end is not None:
            failures[index] = end
            ended[index] = kept_ends(ended.get(index, {}), str(pod["metadata"].get("uid")), end)
        if failure is not None:
            continue
        if pod.get("status", {}).get("phase") == "Running":
            running.add(index)
            alive = True
            continue
        obstacle = pod_obstacle(pod, patience, now)
        if obstacle is not None:
            obstacles.append(obstacle)
    obstacle = None
    if obstacles and not alive:
        obstacle = obstacles[0]
    elif need.starved and not alive and need.empty_since is not None:
        times = [time for pod in pods if (time := ended_at(pod)) is not None]
        obstacle = events_obstacle(events, patience, max([need.empty_since, *times]), now)
    return Evidence(failures, ended, frozenset(running), obstacle)


def shard_index(pod: Object) -> int | None:
    """Say which shard a pod trains."""
    index = pod["metadata"].get("labels", {}).get(marks.COMPLETION_INDEX)
    return None if index is None else int(index)


def _late(since: datetime, now: datetime) -> bool:
    return (now - since).total_seconds() > _USUAL_START_S


def _unfinished(job: Object) -> bool:
    status = job.get("status", {})
    done = indexes(status.get("completedIndexes")) | indexes(status.get("failedIndexes"))
    return len(done) < int(job["spec"]["completions"])


def age_key(pod: Object) -> str:
    """Order pods by age, the oldest first."""
    return str(pod["metadata"].get("creationTimestamp", ""))
