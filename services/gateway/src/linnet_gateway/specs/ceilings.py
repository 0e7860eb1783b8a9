"""What one run of a project may ask for, as far as its launcher knows."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that one run may ask for.

    Attributes:
        cpu_millis: Thousandths of a core.
        memory_bytes: Memory of its trainer.
        deadline: Wall time.
    """

    cpu_millis: int = 16_000
    memory_bytes: int = 16 * 1024**3
    deadline: timedelta = timedelta(hours=24)

    def lowered(
        self, cpu_millis: int | None, memory_bytes: int | None, deadline: timedelta | None
    ) -> "Ceiling":
        """Give the lower one of each; None lowers nothing."""
        return Ceiling(
            self.cpu_millis if cpu_millis is None else min(self.cpu_millis, cpu_millis),
            self.memory_bytes if memory_bytes is None else min(self.memory_bytes, memory_bytes),
            self.deadline if deadline is None else min(self.deadline, deadline),
        )

    def exceeded_by(self, asked: "Ceiling") -> list[str]:
        """Name the fields of what is asked for that are above the ceiling."""
        above = {
            "cpu_millis": asked.cpu_millis > self.cpu_millis,
            "memory_bytes": asked.memory_bytes > self.memory_bytes,
            "deadline": asked.deadline > self.deadline,
        }
        return [field for field, is_above in above.items() if is_above]


EXPERT_SANDBOX_MISSING = "EXPERT_SANDBOX_MISSING"
"""Reason of scripts that are refused since nothing would keep them apart from the node."""


class Ceilings(Protocol):
    """Ceilings of a launcher that has some; what is above them it refuses to launch."""

    def ceiling(self, project: str) -> Ceiling:
        """Give the ceiling of a project, by its id."""
        ...

    @property
    def without_sandbox(self) -> str:
        """Say what lacks for scripts and who can mend it; empty where they are launched."""
        ...


class OneCeiling:
    """The same for every project: of a launcher that knows none."""

    def __init__(self, ceiling: Ceiling = Ceiling()) -> None:
        self._ceiling = ceiling

    def ceiling(self, project: str) -> Ceiling:  # noqa: ARG002 - the same for all
        """Give it."""
        return self._ceiling

    @property
    def without_sandbox(self) -> str:
        """Nothing lacks."""
        return ""
