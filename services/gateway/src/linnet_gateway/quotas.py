"""What the runs of a project that are not terminal may be together.

The records check it in the transaction that adds runs: requests at once can't exceed it together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from linnet_runtime.errors import QuotaExceeded

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Held:
    """Runs, and what their stored specs take."""

    runs: int
    spec_bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one project.

    Attributes:
        max_runs: Runs that may wait or be under way at once.
        max_spec_bytes: Bytes of their specs.
        max_batch_spec_bytes: Bytes of the specs of one batch, ended runs among them.
    """

    max_runs: int = 200_000
    max_spec_bytes: int = 2048 * MIB
    max_batch_spec_bytes: int = 512 * MIB

    def check(self, project: str, live: Held, more: Held) -> None:
        """Refuse runs beyond the project's limits.

        Args:
            project: Its id.
            live: Its runs that are not terminal.
            more: What is to be added.

        Raises:
            QuotaExceeded: They would be too many, or too large.
        """
        if live.runs + more.runs > self.max_runs:
            raise QuotaExceeded(
                f"project {project!r} has {live.runs} runs that are not terminal and may have "
                f"{self.max_runs}: expected at most {max(0, self.max_runs - live.runs)} more, "
                f"received {more.runs}",
                reason="TOO_MANY_RUNS",
                metadata={"project": project, "limit": str(self.max_runs)},
            )
        if live.spec_bytes + more.spec_bytes > self.max_spec_bytes:
            raise QuotaExceeded(
                f"the specs of project {project!r}'s runs that are not terminal have "
                f"{live.spec_bytes} bytes and may have {self.max_spec_bytes}, received "
                f"{more.spec_bytes} more",
                reason="SPECS_TOO_LARGE",
                metadata={"project": project, "limit": str(self.max_spec_bytes)},
            )

    def check_batch(self, name: str, held_bytes: int, more_bytes: int) -> None:
        """Refuse runs whose specs would make a batch too large; raises `QuotaExceeded`."""
        if held_bytes + more_bytes > self.max_batch_spec_bytes:
            raise QuotaExceeded(
                f"the specs of batch {name} have {held_bytes} bytes and may have "
                f"{self.max_batch_spec_bytes}, received {more_bytes} more",
                reason="BATCH_TOO_LARGE",
                metadata={"batch": name, "limit": str(self.max_batch_spec_bytes)},
            )


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of every project.

    Attributes:
        default: Of a project that has none of its own.
        projects: Those of some projects, by id.
    """

    default: Quota = Quota()
    projects: Mapping[str, Quota] = field(default_factory=dict)

    def of(self, project: str) -> Quota:
        """Give the limits of a project."""
        return self.projects.get(project, self.default)
