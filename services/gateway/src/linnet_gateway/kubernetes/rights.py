"""What the gateway's service account must be allowed in the runs namespace, and what it must not.

The chart's Role grants exactly the former; `linnet doctor --cluster` asks the API server for both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of the runs namespace."""

    group: str
    resource: str
    verb: str
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {what}"


def needed(lease_name: str) -> tuple[Right, ...]:
    """List what the gateway can't do without."""
    return (
        *(Right("batch", "jobs", v) for v in ("create", "get", "list", "watch", "patch", "delete")),
        *(Right("", "pods", verb) for verb in ("get", "list", "delete")),
        Right("", "pods", "get", "log"),
        # Why a Job has no pods, such as a quota, stands only in its events.
        Right("", "events", "list"),
        *(Right("", "secrets", verb) for verb in ("create", "delete")),
        Right("coordination.k8s.io", "leases", "create"),
        *(Right("coordination.k8s.io", "leases", v, name=lease_name) for v in ("get", "update")),
    )


FORBIDDEN = (
    *(Right("", "secrets", verb) for verb in ("get", "list", "watch")),
    Right("", "pods", "create"),
    Right("", "pods", "create", "exec"),
    Right("", "pods", "create", "attach"),
    Right("", "serviceaccounts", "create", "token"),
    Right("rbac.authorization.k8s.io", "roles", "create"),
    Right("rbac.authorization.k8s.io", "rolebindings", "create"),
)
FORBIDDEN_TO_TRAINERS = (
    *(Right("", "secrets", verb) for verb in ("get", "list")),
    *(Right("", "pods", verb) for verb in ("get", "list", "create")),
    *(Right("batch", "jobs", verb) for verb in ("get", "list", "create")),
)
