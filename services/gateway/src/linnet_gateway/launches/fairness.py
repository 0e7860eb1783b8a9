"""Who may run how many shards at once: fair between projects, by priority within one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Demand:
    """A launch that wants to run shards.

    Attributes:
        uid: The launch.
        project: Its project.
        priority: Higher goes first within the project.
        wanted: Shards that it could run at once now, at least 0.
        running: Whether it was launched already; such a launch keeps at least one shard.
    """

    uid: str
    project: str
    priority: int
    wanted: int
    running: bool


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How many shards run at once.

    Attributes:
        total: Of all projects together.
        per_project: Of one project that has no limit of its own.
        projects: Of some projects, by id.
    """

    total: int = 1000
    per_project: int = 1000
    projects: Mapping[str, int] = field(default_factory=dict)

    def of(self, project: str) -> int:
        """Give the limit of a project."""
        return self.projects.get(project, self.per_project)


def allot(demands: Sequence[Demand], limits: ShardLimits) -> Mapping[str, int]:
    """Say how many shards each launch may run at once.

    Projects take turns, one shard at a time, until everybody has what he wants or a limit is
    reached; within a project the launch of the highest priority is served first, then the one that
    was asked for first. What was launched keeps one shard, since a launch of no shards can't be.

    Args:
        demands: In the order in which launches were asked for.
        limits: How many shards run at once.
    """
    given = {d.uid: 1 if d.running and d.wanted > 0 else 0 for d in demands}
    left = limits.total - sum(given.values())
    queues: dict[str, list[Demand]] = {}
    for demand in sorted(demands, key=lambda d: -d.priority):
        queues.setdefault(demand.project, []).append(demand)
    used = {project: sum(given[d.uid] for d in queue) for project, queue in queues.items()}
    turn = sorted(queues, key=lambda project: used[project])
    while left > 0 and turn:
        again = []
        for project in turn:
            served = _serve(queues[project], given, used[project], limits.of(project))
            if served and left > 0:
                given[served] += 1
                used[project] += 1
                left -= 1
                again.append(project)
        turn = again
    return given


def _serve(queue: Sequence[Demand], given: Mapping[str, int], used: int, limit: int) -> str | None:
    if used >= limit:
        return None
    return next((d.uid for d in queue if given[d.uid] < d.wanted), None)
