"""Who may call what: roles per project, one per method, and nothing that is not listed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from google.protobuf.message import Message
from linnet_runtime.errors import PermissionDenied
from linnet_runtime.ids import parse_name

EVERY_PROJECT = "*"


class Role(IntEnum):
    """What somebody may do in a project; each may do what the ones below it may."""

    NONE = 0
    VIEWER = 1
    SUBMITTER = 2
    ADMIN = 3


METHODS: Mapping[str, Role] = {
    # Knows no project: whoever is known may call it.
    "ListTargets": Role.NONE,
    "ListPresets": Role.NONE,
    "ListLayerTypes": Role.NONE,
    "GetDataset": Role.VIEWER,
    "ListDatasets": Role.VIEWER,
    "DownloadDataset": Role.VIEWER,
    "GetRun": Role.VIEWER,
    "ListRuns": Role.VIEWER,
    "WatchRun": Role.VIEWER,
    "StreamLog": Role.VIEWER,
    "GetReport": Role.VIEWER,
    "GetEvaluation": Role.VIEWER,
    "GetProfile": Role.VIEWER,
    "GetThresholds": Role.VIEWER,
    "GetExplorer": Role.VIEWER,
    "CompareRuns": Role.VIEWER,
    "DownloadArtifact": Role.VIEWER,
    "ValidateSpec": Role.VIEWER,
    "RenderScript": Role.VIEWER,
    "GetBatch": Role.VIEWER,
    "ListBatches": Role.VIEWER,
    "WatchBatch": Role.VIEWER,
    "ExportBatch": Role.VIEWER,
    "CreateDataset": Role.SUBMITTER,
    "FinalizeDataset": Role.SUBMITTER,
    "CreateRun": Role.SUBMITTER,
    "CancelRun": Role.SUBMITTER,
    "CreateBatch": Role.SUBMITTER,
    "CancelBatch": Role.SUBMITTER,
    "SuspendBatch": Role.SUBMITTER,
    "ResumeBatch": Role.SUBMITTER,
    "RetryFailed": Role.SUBMITTER,
    "DeleteDataset": Role.ADMIN,
    "DeleteRun": Role.ADMIN,
}

MUTATING = frozenset(name for name, role in METHODS.items() if role >= Role.SUBMITTER) | {
    "ExportBatch"  # puts a file into the store, although whoever may read may have it
}
"""Methods that change something; each call of one is written to the audit log."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who is known.

    Attributes:
        subject: Names him for people and logs.
        roles: His role by project id; `*` stands for every project.
        expires_at_s: When he has to present another token, in seconds since 1970.
    """

    subject: str
    roles: Mapping[str, Role] = field(default_factory=dict)
    expires_at_s: float = math.inf

    def role_in(self, project: str) -> Role:
        """Give his role in a project."""
        return max(self.roles.get(project, Role.NONE), self.roles.get(EVERY_PROJECT, Role.NONE))


def resource_of(request: Any) -> str:
    """Give the name of the resource, or of its parent, that a request is about; may be empty."""
    if hasattr(request, "header"):
        return str(request.header.parent)
    return str(getattr(request, "name", "") or getattr(request, "parent", ""))


def named_in(answer: Any) -> str:
    """Give the name of the resource that an answer is, or holds; empty without one."""
    for part in ("dataset", "batch"):
        held = getattr(answer, part, None)
        answer = held if isinstance(held, Message) else answer
    return str(getattr(answer, "name", ""))


def check_role(method: str, principal: Principal, request: Any) -> None:
    """Refuse a call that the caller's role does not allow.

    Raises:
        PermissionDenied: It does not, or the method is not listed.
        InvalidInput: The request names no resource.
    """
    needed = METHODS.get(method)
    if needed is None:
        raise PermissionDenied(f"method {method} is open to nobody", reason="METHOD_CLOSED")
    if needed is Role.NONE:
        return
    project = _project(resource_of(request))
    if principal.role_in(project) < needed:
        raise PermissionDenied(
            f"{method} needs role {needed.name.lower()} in project {project!r}",
            reason="ROLE_REQUIRED",
            metadata={"method": method, "project": project, "role": needed.name.lower()},
        )


def _project(resource: str) -> str:
    parts = resource.split("/")
    return parse_name("/".join(parts[:2]), field="name" if len(parts) > 2 else "parent").project  # noqa: PLR2004 - projects/{project}/...
