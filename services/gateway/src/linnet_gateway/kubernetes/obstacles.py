"""Why the pods of a launch do not start. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linnet_gateway.kubernetes.settings import KubernetesSettings
from linnet_gateway.states import Failure, FailureReason

Object = Mapping[str, Any]

_IMAGE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_IMAGE_FOR_GOOD = {"ErrImageNeverPull", "InvalidImageName"}
_STARTING = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each obstacle may last before it counts as a failure, in seconds."""

    image_pull_s: float
    unschedulable_s: float
    quota_s: float
    start_s: float

    @classmethod
    def of(cls, settings: KubernetesSettings) -> "Patience":
        """Take the limits from the settings."""
        return cls(
            image_pull_s=settings.image_pull_limit_s,
            unschedulable_s=settings.unschedulable_limit_s,
            quota_s=settings.quota_limit_s,
            start_s=settings.start_limit_s,
        )


def pod_obstacle(pod: Object, patience: Patience, now: datetime) -> Failure | None:
    """Say what keeps a pod from starting for longer than it may; None if nothing does.

    The wait for a node counts from the pod's creation, those for its image and its container from
    the moment when it got a node: an autoscaler may have taken its time before.
    """
    status: Object = pod.get("status", {})
    if status.get("phase") != "Pending":
        return None
    since = moment(pod["metadata"].get("creationTimestamp")) or now
    for condition in status.get("conditions", ()):
        if condition.get("type") != "PodScheduled":
            continue
        if condition.get("status") == "True":
            since = moment(condition.get("lastTransitionTime")) or since
            break
        waited_s = (now - since).total_seconds()
        if condition.get("reason") == "Unschedulable" and waited_s >= patience.unschedulable_s:
            return Failure(
                FailureReason.UNSCHEDULABLE,
                f"no node took the trainer's pod for {waited_s:.0f} s: {condition.get('message')}",
            )
        return None
    waited_s = (now - since).total_seconds()
    for container in status.get("containerStatuses", ()):
        waiting: Object | None = container.get("state", {}).get("waiting")
        if waiting is not None:
            return _waiting_obstacle(container, waiting, patience, waited_s)
    return None


def events_obstacle(
    events: Iterable[Object], patience: Patience, since: datetime, now: datetime
) -> Failure | None:
    """Say why the Job controller can make no pod at all, from the Job's FailedCreate events.

    Args:
        events: Events of the Job.
        patience: Limits.
        since: When the Job began to have no pod; what was refused before is over.
        now: The present time.
    """
    refusals = [
        event
        for event in events
        if event.get("reason") == "FailedCreate" and (_event_time(event) or since) >= since
    ]
    if not refusals:
        return None
    latest = max(refusals, key=lambda event: _event_time(event) or since)
    waited_s = (now - since).total_seconds()
    message = str(latest.get("message", ""))
    if "exceeded quota" in message or "must specify" in message:
        if waited_s < patience.quota_s:
            return None
        return Failure(
            FailureReason.QUOTA_EXCEEDED,
            f"a quota of the namespace refused the trainer's pods for {waited_s:.0f} s: {message}",
        )
    if waited_s < patience.start_s and "PodSecurity" not in message:
        return None
    return Failure(
        FailureReason.LAUNCH_FAILED, f"Kubernetes refuses to make the trainer's pods: {message}"
    )


def moment(text: object) -> datetime | None:
    """Read a timestamp of the Kubernetes API."""
    return datetime.fromisoformat(str(text)) if text else None


def _waiting_obstacle(
    container: Object, waiting: Object, patience: Patience, waited_s: float
) -> Failure | None:
    reason = str(waiting.get("reason", ""))
    detail = str(waiting.get("message") or reason)
    image = container.get("image", "")
    if reason in _IMAGE_FOR_GOOD or (reason in _IMAGE and waited_s >= patience.image_pull_s):
        return Failure(
            FailureReason.IMAGE_PULL, f"the trainer's image {image} can't be pulled: {detail}"
        )
    if reason in _IMAGE:
        return None
    if waited_s < patience.start_s:
        return None
    what = "does not start" if reason in _STARTING else f"can't be started: {reason}"
    return Failure(
        FailureReason.LAUNCH_FAILED, f"the trainer's container {what}. {waiting.get('message', '')}"
    )


def _event_time(event: Object) -> datetime | None:
    last = event.get("lastTimestamp") or event.get("eventTime")
    return moment(last or event.get("metadata", {}).get("creationTimestamp"))
