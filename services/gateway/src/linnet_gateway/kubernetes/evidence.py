"""Which Jobs are worth a look at their pods, and what the pods tell. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.jobstatus import Evidence, has_ended, is_prepared
from linnet_gateway.kubernetes.obstacles import Patience, events_obstacle, moment, pod_obstacle
from linnet_gateway.kubernetes.terminations import pod_ending, pod_failure
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
        waited_s: Since the Job was started.
    """

    failures: tuple[object, ...]
    waiting: bool
    starved: bool
    waited_s: float


def need_of(job: Object, now: datetime) -> Need:
    """Say what there is to learn from a Job's pods."""
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
        return Need(failures, waiting=False, starved=False, waited_s=0.0)
    waited_s = (now - since).total_seconds()
    active = int(status.get("active") or 0)
    late = waited_s > _USUAL_START_S
    return Need(
        failures,
        waiting=late and active > int(status.get("ready") or 0),
        starved=late and active == 0 and not terminating and not failures,
        waited_s=waited_s,
    )


def weigh_pods(
    pods: Iterable[Object],
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
    running: set[int] = set()
    obstacles: list[Failure] = []
    alive = False
    for pod in sorted(pods, key=age_key):
        index = shard_index(pod)
        if index is None:
            continue
        failure = pod_failure(pod)
        if failure is not None:
            failures[index] = failure
            continue
        ending = pod_ending(pod)
        if ending is not None:
            failures[index] = ending
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
    elif need.starved and not alive:
        obstacle = events_obstacle(events, patience, need.waited_s)
    return Evidence(failures=failures, running=frozenset(running), obstacle=obstacle)


def shard_index(pod: Object) -> int | None:
    """Say which shard a pod trains."""
    index = pod["metadata"].get("labels", {}).get(marks.COMPLETION_INDEX)
    return None if index is None else int(index)


def age_key(pod: Object) -> str:
    """Order pods by age, the oldest first."""
    return str(pod["metadata"].get("creationTimestamp", ""))
