"""From queued runs to launches: which run goes to which shard of which launch."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord

MAX_SHARDS = 1000
SHARDS_A_POD = 4
"""Shards for each that runs at once: enough that a slow one does not hold the batch up."""

_APART = timedelta(microseconds=1)

Plan = tuple[LaunchRecord, Sequence[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What all runs of a launch share, since they share its pods."""

    project: str
    batch_uid: str | None
    batch_id: str
    priority: int
    cpu_millis: int
    memory_bytes: int
    deadline: timedelta | None
    alone: str
    """Uid of a run that has a launch of its own; empty for runs of a batch."""


def shard_size(run_count: int, asked: int, parallelism: int) -> int:
    """Choose how many runs a shard has.

    Args:
        run_count: Runs of the launch, at least 1.
        asked: What the batch asks for; 0 lets this choose.
        parallelism: Shards that may run at once, at least 1.
    """
    smallest = ceil(run_count / MAX_SHARDS)
    if asked:
        return max(asked, smallest)
    return max(1, smallest, ceil(run_count / (parallelism * SHARDS_A_POD)))


def _shape(run: RunRecord) -> Shape:
    # User code of one run must not meet another's: an expert launch holds exactly one run.
    alone = run.batch_uid is None or run.expert
    return Shape(
        project=run.project,
        batch_uid=run.batch_uid,
        batch_id=run.batch_id,
        priority=run.priority,
        cpu_millis=run.cpu_millis,
        memory_bytes=run.memory_limit_bytes,
        deadline=run.deadline if alone else None,
        alone=run.uid if alone else "",
    )


def plan(
    runs: Iterable[RunRecord],
    sizes: dict[str, tuple[int, int]],
    default_parallelism: int,
    now: datetime,
) -> list[Plan]:
    """Divide queued runs into launches and shards.

    Args:
        runs: Runs that no launch has, in the order in which they are to be trained.
        sizes: Shard size and parallelism that a batch asks for, by its uid; zeros let this choose.
        default_parallelism: Shards of a batch that run at once where the batch does not say.
        now: The present time.

    Returns:
        Launches, each with its runs as (uid, shard). The uid of a launch follows from its runs and
        how often they were launched, so that planning twice makes the same launch.
    """
    groups: dict[Shape, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(_shape(run), []).append(run)
    # A microsecond apart: launches that were planned together keep the order of their runs.
    return [
        _launch(shape, members, sizes, default_parallelism, now + place * _APART)
        for place, (shape, members) in enumerate(groups.items())
    ]


def _launch(
    shape: Shape,
    members: Sequence[RunRecord],
    sizes: dict[str, tuple[int, int]],
    default_parallelism: int,
    now: datetime,
) -> Plan:
    asked_size, asked_parallelism = sizes.get(shape.batch_uid or "", (0, 0))
    parallelism = 1 if shape.alone else (asked_parallelism or default_parallelism)
    size = shard_size(len(members), asked_size, parallelism)
    shard_count = ceil(len(members) / size)
    digest = _digest(shape, members)
    launch = LaunchRecord(
        uid=f"l{digest[:19]}",
        project=shape.project,
        create_time=now,
        state=LaunchState.PLANNED,
        shard_count=shard_count,
        parallelism=min(parallelism, shard_count),
        cpu_millis=shape.cpu_millis,
        memory_bytes=shape.memory_bytes,
        deadline=shape.deadline,
        expert=any(run.expert for run in members),
        spec_digest=digest,
        batch_uid=shape.batch_uid,
        batch_id=shape.batch_id,
        priority=shape.priority,
    )
    return launch, [(run.uid, index // size) for index, run in enumerate(members)]


def _digest(shape: Shape, members: Sequence[RunRecord]) -> str:
    body = [
        shape.project,
        shape.batch_uid,
        shape.cpu_millis,
        shape.memory_bytes,
        # The version too: a launch that was stopped on purpose is taken off the count again.
        [[run.uid, run.launch_count, run.version] for run in members],
    ]
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()
