"""What the gateway remembers, as frozen values; times are aware and in UTC.

`version` counts the changes that a caller can see and is the record's etag; progress of a training
does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from linnet_gateway.states import (
    BatchState,
    DatasetState,
    Failure,
    FailureReason,
    RunState,
    StageKind,
    StageState,
)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file in the object store.

    Attributes:
        name: Within its dataset or run.
        key: In the bucket.
        size_bytes: Its size.
        sha256: Hexadecimal.
    """

    name: str
    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What validation found in a dataset's files; all empty before it."""

    input_shape: tuple[int, ...] = ()
    sample_count: int = 0
    class_counts: tuple[int, ...] = ()
    group_count: int = 0
    test_count: int = 0
    feature_bytes: int = 0
    validation_count: int = 0


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A dataset.

    Attributes:
        digest: SHA-256 over the files' digests in order of name.
        request_id: Of the request that made it; empty without one.
        request_digest: SHA-256 of what that request asked for.
    """

    uid: str
    project: str
    id: str
    create_time: datetime
    state: DatasetState
    display_name: str
    input_kind: int
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    files: tuple[FileRecord, ...]
    facts: DatasetFacts = DatasetFacts()
    digest: str = ""
    request_id: str = ""
    request_digest: str = ""
    version: int = 1

    @property
    def name(self) -> str:
        """The resource's name."""
        return f"projects/{self.project}/datasets/{self.id}"


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a run."""

    kind: StageKind
    state: StageState = StageState.PENDING
    start_time: datetime | None = None
    end_time: datetime | None = None
    failure: Failure | None = None


NEW_STAGES = tuple(StageRecord(kind) for kind in StageKind)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run.

    Attributes:
        spec: The serialized TrainingSpec, every default filled in.
        spec_digest: SHA-256 of what the caller sent, for idempotent requests.
        dataset: Id of the dataset, in the same project.
        predecessor: Name of the run that it retrains; empty without one.
        init_from: Name of the run whose weights it starts from; empty without one.
        retry_of: Uid of the failed run of the batch that it tries again.
        attempt: Number of the attempt that was handed out last; 0 before the first.
        attempt_open: Whether a trainer holds that attempt.
        trainer: Name of the process that got the attempt; empty if it said none.
        lost_count: Attempts that a trainer took with it.
        launch_count: Launches that the run was part of, but for those stopped on purpose.
        launch_uid: The launch that it is part of now.
        shard: Its shard there.
        log_sequence: Entries of the attempt's output that are stored.
        progress: The serialized Progress; empty before the first epoch.
        summary: The serialized RunSummary; empty before training ended.
        comparison: The serialized Comparison; empty without one.
        phase: Number of the contract's TrainerPhase.
        time_used: Training time of all attempts so far.
        cpu_millis: CPU of its trainer, in thousandths of a core.
        memory_limit_bytes: Memory of its trainer.
        deadline: Wall time that it may take from its launch on.
        expert: Whether it runs a script of the user.
        log_delete_time: When retention took its output; None while it is kept.
        artifacts_delete_time: When retention took its artifacts, of which then none are named.
    """

    uid: str
    project: str
    id: str
    create_time: datetime
    update_time: datetime
    spec: bytes
    spec_digest: str
    dataset: str
    target: str
    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    predecessor: str = ""
    request_id: str | None = None
    batch_uid: str | None = None
    batch_id: str = ""
    batch_index: int = 0
    retry_of: str | None = None
    priority: int = 0
    state: RunState = RunState.QUEUED
    version: int = 1
    start_time: datetime | None = None
    end_time: datetime | None = None
    cancel_time: datetime | None = None
    last_report_time: datetime | None = None
    failure: Failure | None = None
    stages: tuple[StageRecord, ...] = NEW_STAGES
    attempt: int = 0
    attempt_open: bool = False
    lost_count: int = 0
    launch_count: int = 0
    launch_uid: str | None = None
    shard: int = 0
    log_sequence: int = 0
    progress: bytes = b""
    summary: bytes = b""
    comparison: bytes = b""
    phase: int = 0
    memory_bytes: int = 0
    time_used: timedelta = timedelta()
    artifacts: tuple[FileRecord, ...] = ()
    checkpoint: tuple[FileRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    waiting: str = ""
    cpu_millis: int = 1000
    memory_limit_bytes: int = 0
    deadline: timedelta | None = None
    expert: bool = False
    init_from: str = ""
    trainer: str = ""
    log_delete_time: datetime | None = None
    artifacts_delete_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource's name."""
        return f"projects/{self.project}/runs/{self.id}"

    @property
    def prefix(self) -> str:
        """Where its objects are, without a slash at the end."""
        return f"projects/{self.project}/runs/{self.id}-{self.uid}"

    def attempt_key(self, file: str) -> str:
        """Give the key of a file of the present attempt."""
        return f"{self.prefix}/attempts/{self.attempt}/{file}"

    def stage(self, kind: StageKind) -> StageRecord:
        """Give one of the stages."""
        return next(s for s in self.stages if s.kind is kind)


RUN_FIELDS = tuple(f.name for f in fields(RunRecord))
run_values = attrgetter(*RUN_FIELDS)
"""Gives the values of a run in the order of `RUN_FIELDS`."""
_PLACES = {name: place for place, name in enumerate(RUN_FIELDS)}

if TYPE_CHECKING:
    import dataclasses

    altered = dataclasses.replace
else:

    def altered(run: RunRecord, **changes: Any) -> RunRecord:
        """Give a run with other values: `dataclasses.replace` in a quarter of its time."""
        values = list(run_values(run))
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return RunRecord(*values)


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """Many runs that are launched, watched and cancelled together.

    Attributes:
        request_digest: SHA-256 of the header that made it; empty if an earlier release did.
    """

    uid: str
    project: str
    id: str
    create_time: datetime
    state: BatchState
    display_name: str = ""
    request_id: str | None = None
    shard_size: int = 0
    parallelism: int = 0
    priority: int = 0
    run_count: int = 0
    version: int = 1
    end_time: datetime | None = None
    cancel_time: datetime | None = None
    request_digest: str = ""

    @property
    def name(self) -> str:
        """The resource's name."""
        return f"projects/{self.project}/batches/{self.id}"


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Runs of a batch by state, failed ones by reason, and retrained ones by verdict."""

    states: Mapping[RunState, int]
    failures: Mapping[FailureReason, int]
    verdicts: Mapping[int, int]


class LaunchState(IntEnum):
    """Where a launch stands in the records."""

    PLANNED = 1
    LAUNCHED = 2
    STOPPING = 3
    ENDED = 4


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """A launch: shards of runs that one call of the launcher starts."""

    uid: str
    project: str
    create_time: datetime
    state: LaunchState
    shard_count: int
    parallelism: int
    cpu_millis: int
    memory_bytes: int
    deadline: timedelta | None
    expert: bool
    spec_digest: str
    batch_uid: str | None = None
    batch_id: str = ""
    priority: int = 0
    launch_time: datetime | None = None
    end_time: datetime | None = None


class EventKind(IntEnum):
    """What an event tells of."""

    LOG = 1
    RUN = 2
    BATCH = 3


@dataclass(frozen=True, slots=True)
class Event:
    """Something that readers wait for; `id` grows in the order in which events become visible.

    Attributes:
        subject: Uid of the run or batch.
        batch_uid: Uid of the run's batch, if it has one.
        first: Sequence of the first log entry that it holds; 0 if it is no log.
        last: Sequence of the last one.
        payload: Serialized LogEntries for a log, else empty.
    """

    id: int
    kind: EventKind
    subject: str
    batch_uid: str | None = None
    attempt: int = 0
    first: int = 0
    last: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Log entries of an attempt that lie in the object store, as JSON lines."""

    run_uid: str
    attempt: int
    first: int
    last: int
    file: FileRecord
