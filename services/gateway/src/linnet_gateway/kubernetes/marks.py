"""Names, labels and annotations on what the gateway makes in a cluster."""

from linnet_runtime.ids import label_safe

DOMAIN = "linnet.dev"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
QUEUE = "kueue.x-k8s.io/queue-name"

LAUNCH = f"{DOMAIN}/launch"
PROJECT = f"{DOMAIN}/project"
CLASS = f"{DOMAIN}/class"

SPEC_DIGEST = f"{DOMAIN}/spec-digest"
PREPARED = f"{DOMAIN}/prepared"
"""Annotation of a Job whose Secret exists; one without it was never started."""
STOPPING = f"{DOMAIN}/stopping"
"""Annotation of a Job that the gateway itself ends, or needs no more."""

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"

MANAGER = "linnet-gateway"
TRAINER = "trainer"
"""Component label and container name of trainers."""

_NAME_LIMIT = 52


def job_name(launch_uid: str) -> str:
    """Name the Job, and its Secret, of a launch.

    Short enough that name, index and a random suffix stay below 63 characters in a pod's name.
    """
    return label_safe(f"linnet-{launch_uid}", limit=_NAME_LIMIT)


def selector(instance: str) -> str:
    """Select every trainer's Job or pod of one installation."""
    return f"{MANAGED_BY}={MANAGER},{COMPONENT}={TRAINER},{INSTANCE}={instance}"
