"""What a Job and its pods say becomes the status of a launch. Pure.

Whether a launch ended is read from the Job's conditions and its index lists, never from counts;
the reason from its pods. A Job can be read without its pods: then reasons are missing, not wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from linnet_gateway.kubernetes import marks
from linnet_gateway.kubernetes.obstacles import moment
from linnet_gateway.launches.launcher import LaunchStatus, ShardState, ShardStatus
from linnet_gateway.states import Failure, FailureReason

Object = Mapping[str, Any]

UNPREPARED_LIMIT_S = 120.0
"""A Job that got no Secret for so long was left by a gateway that died in between."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read beside the Job.

    Attributes:
        failures: The latest failure of each shard's pods, by index.
        ended: Why each of a shard's last pods failed, by index and the pod's uid.
        running: Shards with a pod that runs.
        obstacle: What keeps all its pods from starting, for longer than it may.
    """

    failures: Mapping[int, Failure] = field(default_factory=dict)
    ended: Mapping[int, Mapping[str, Failure]] = field(default_factory=dict)
    running: frozenset[int] = frozenset()
    obstacle: Failure | None = None


def read_launch(job: Object, evidence: Evidence, now: datetime) -> LaunchStatus | None:
    """Say how a launch does; None while its Job is still being made, and when it is done with.

    One that the gateway stops has not ended, and no failure, until its Job is gone.
    """
    uid = job["metadata"]["labels"][marks.LAUNCH]
    if is_stopping(job):
        if has_ended(job):
            return None
        shards = _shards(job, evidence, None, ended=False)
        return LaunchStatus(uid=uid, ended=False, shards=shards)
    conditions = true_conditions(job)
    failure = _launch_failure(job, conditions, evidence)
    ended = bool(conditions.keys() & {"Complete", "Failed"})
    if not ended and not is_prepared(job):
        since = moment(job["metadata"].get("creationTimestamp")) or now
        if (now - since).total_seconds() < UNPREPARED_LIMIT_S:
            return None
        ended = True
        failure = failure or Failure(
            FailureReason.LAUNCH_FAILED, "the gateway stopped while it made the launch"
        )
    shards = _shards(job, evidence, failure, ended=ended)
    return LaunchStatus(uid=uid, ended=ended, shards=shards, failure=failure)


def is_prepared(job: Object) -> bool:
    """Whether everything of the launch was made and only then started."""
    return marks.PREPARED in job["metadata"].get("annotations", {})


def is_stopping(job: Object) -> bool:
    """Whether the gateway itself ended the launch or needs it no more."""
    return marks.STOPPING in job["metadata"].get("annotations", {})


def has_ended(job: Object) -> bool:
    """Whether nothing of the Job runs and nothing of it will run."""
    return bool(true_conditions(job).keys() & {"Complete", "Failed"})


def true_conditions(job: Object) -> dict[str, Object]:
    """Give the Job's conditions that hold, by type."""
    found = job.get("status", {}).get("conditions") or ()
    return {one["type"]: one for one in found if one.get("status") == "True"}


def indexes(text: str | None) -> frozenset[int]:
    """Read a list of indexes such as `0-3,7`."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _launch_failure(
    job: Object, conditions: Mapping[str, Object], evidence: Evidence
) -> Failure | None:
    if "Complete" in conditions:
        return None
    # FailureTarget comes first, while pods are still being ended; Failed repeats its reason.
    condition = conditions.get("Failed") or conditions.get("FailureTarget")
    if condition is not None:
        return _condition_failure(condition, evidence)
    if job["metadata"].get("deletionTimestamp"):
        return deleted_failure()
    return evidence.obstacle


def deleted_failure() -> Failure:
    """Make the failure of a launch whose Job somebody else deleted."""
    return Failure(
        FailureReason.LAUNCH_DELETED,
        "the launch's Job was deleted in the cluster, not by Linnet; its unfinished runs can be "
        "launched again",
    )


def _condition_failure(condition: Object, evidence: Evidence) -> Failure | None:
    reason = condition.get("reason", "")
    said = str(condition.get("message", ""))
    if reason == "FailedIndexes":
        # Shards failed; the others ran to their end.
        return None
    if reason == "DeadlineExceeded":
        return Failure(
            FailureReason.DEADLINE_EXCEEDED,
            "the launch took longer than its deadline; give it more time or less to do",
        )
    known = next(iter(evidence.failures.values()), None)
    return known or Failure(
        FailureReason.LAUNCH_FAILED, f"the launch's Job failed: {reason}. {said}"
    )


def _shards(
    job: Object, evidence: Evidence, failure: Failure | None, *, ended: bool
) -> tuple[ShardStatus, ...]:
    status = job.get("status", {})
    completed = indexes(status.get("completedIndexes"))
    failed = indexes(status.get("failedIndexes"))
    shards: list[ShardStatus] = []
    for index in range(job["spec"]["completions"]):
        known, ends = evidence.failures.get(index), evidence.ended.get(index, {})
        if index in completed:
            shards.append(ShardStatus(index, ShardState.SUCCEEDED, known, ends))
        elif index in failed:
            why = known or _unknown_failure()
            shards.append(ShardStatus(index, ShardState.FAILED, why, ends))
        elif ended:
            why = failure or known or _unknown_failure()
            shards.append(ShardStatus(index, ShardState.FAILED, why, ends))
        elif index in evidence.running:
            shards.append(ShardStatus(index, ShardState.RUNNING, known, ends))
        elif known is not None:
            shards.append(ShardStatus(index, ShardState.PENDING, known, ends))
    return tuple(shards)


def _unknown_failure() -> Failure:
    return Failure(
        FailureReason.TRAINER_CRASHED,
        "the trainer failed and its pod is gone, so nothing more is known",
    )
