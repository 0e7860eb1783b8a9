"""What the end of a trainer's pod says: why it failed. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.kubernetes import marks
from linnet_gateway.launches.plain_text import plain
from linnet_gateway.launches.trainer_exits import outcome_of
from linnet_gateway.states import Failure, FailureReason

Object = Mapping[str, Any]

_TAIL_LINES = 50
_LONGEST_ENTRY = 16_384
"""Characters of a line that is still read as JSON; the trainer's own are shorter."""

_DISRUPTIONS = {
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "DeletionByTaintManager": "its node was tainted, as lost or drained nodes are",
    "EvictionByEvictionAPI": "it was evicted, as draining a node does",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ran short of a resource or shut down",
}

# The container never ran, so its exit code is the runtime's.
_NOT_STARTED = {"StartError", "ContainerCannotRun", "ContainerStatusUnknown"}


def pod_failure(pod: Object) -> Failure | None:
    """Say why a pod failed; None if it did not."""
    status: Object = pod.get("status", {})
    ended = _termination(status)
    failed = status.get("phase") == "Failed" or (ended is not None and ended.get("exitCode") != 0)
    if not failed:
        return None
    exit_code = ended.get("exitCode") if ended is not None else None
    tail = log_lines(ended.get("message", "")) if ended is not None else ()
    reason, message = _explain(pod, ended)
    return Failure(
        reason,
        message,
        exit_code=exit_code,
        out_of_memory=reason is FailureReason.OUT_OF_MEMORY,
        log_tail=tail,
    )


def pod_ending(pod: Object) -> Failure | None:
    """Say why a pod that has not ended is made to; None if nobody asked it to.

    An evicted pod is deleted as soon as it ends, and no failure of the Job tells of it later.
    """
    if pod_failure(pod) is not None or not pod["metadata"].get("deletionTimestamp"):
        return None
    why = _disruption(pod.get("status", {}))
    return Failure(
        FailureReason.EVICTED, "the trainer's pod was " + (f"evicted: {why}" if why else "deleted")
    )


def ended_at(pod: Object) -> datetime | None:
    """Say when a pod ended; None if it has not, or nobody knows."""
    ended = _termination(pod.get("status", {})) or {}
    finished = ended.get("finishedAt")
    return datetime.fromisoformat(str(finished)) if finished else None


def log_lines(text: str) -> tuple[str, ...]:
    """Give the last lines of a log as a person would read them.

    A line of JSON that the trainer's log carries is shown by its text, and each as plain text.
    """
    return tuple(plain(_readable(line)) for line in text.splitlines()[-_TAIL_LINES:])


def _explain(pod: Object, ended: Object | None) -> tuple[FailureReason, str]:
    return _explain_pod(pod.get("status", {}), ended) or _explain_container(pod, ended or {})


def _explain_pod(status: Object, ended: Object | None) -> tuple[FailureReason, str] | None:
    said = str(status.get("message", "")).strip()
    disruption = _disruption(status)
    if disruption:
        return FailureReason.EVICTED, _sentence(
            f"the trainer's pod was evicted: {disruption}", said
        )
    if status.get("reason") == "Evicted":
        return FailureReason.EVICTED, _sentence("the trainer's pod was evicted", said)
    if status.get("reason") == "DeadlineExceeded":
        return FailureReason.DEADLINE_EXCEEDED, _sentence("the pod's deadline passed", said)
    if ended is None:
        why = str(status.get("reason", ""))
        return FailureReason.LAUNCH_FAILED, _sentence(
            "the trainer's pod failed before it ran" + (f": {why}" if why else ""), said
        )
    return None


def _disruption(status: Object) -> str:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = str(condition.get("reason", ""))
            return _DISRUPTIONS.get(reason, reason)
    return ""


def _explain_container(pod: Object, ended: Object) -> tuple[FailureReason, str]:
    why = str(ended.get("reason", ""))
    if why == "OOMKilled":
        limit = _memory_limit(pod)
        allowed = f" of {limit} bytes" if limit else ""
        return FailureReason.OUT_OF_MEMORY, (
            f"the trainer used more memory than its limit{allowed}; use less data, a smaller "
            "batch size or a larger memory limit"
        )
    if why in _NOT_STARTED:
        return FailureReason.LAUNCH_FAILED, _sentence(
            f"the trainer's container could not be started: {why}", str(ended.get("message", ""))
        )
    outcome = outcome_of(int(ended.get("exitCode", ExitCode.CRASHED)))
    return outcome.reason, outcome.message


def _termination(status: Object) -> Object | None:
    for container in status.get("containerStatuses", ()):
        if container.get("name") == marks.TRAINER:
            ended: Object | None = container.get("state", {}).get("terminated")
            return ended
    return None


def _memory_limit(pod: Object) -> str:
    for container in pod.get("spec", {}).get("containers", ()):
        if container.get("name") == marks.TRAINER:
            return str(container.get("resources", {}).get("limits", {}).get("memory", ""))
    return ""


def _readable(line: str) -> str:
    if not line.startswith("{") or len(line) > _LONGEST_ENTRY:
        return line
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        # Whoever runs code in the pod chooses its lines: a thousand brackets are enough.
        return line
    for key in ("text", "event"):
        if isinstance(entry.get(key), str):
            raised = entry.get("exception")
            last = raised.strip().rpartition("\n")[2] if isinstance(raised, str) else ""
            return _sentence(entry[key], last)
    return line


def _sentence(statement: str, detail: str) -> str:
    return f"{statement}. {plain(detail)}" if detail else statement
