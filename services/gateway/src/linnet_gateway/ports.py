"""What the core needs of the records; `linnet_gateway.sql` and `tests/fakes` provide it.

Every method is one transaction. A change is decided by a function of the record as it is, which
may run more than once, and is committed only if nobody changed the record meanwhile. Methods raise
`Unavailable` when the database can't be reached.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from linnet_gateway.queries import Found, Page, RunFilter
from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import (
    BatchCounts,
    BatchRecord,
    DatasetRecord,
    Event,
    LaunchRecord,
    LogChunk,
    RunRecord,
)
from linnet_gateway.reported import Report, Stored
from linnet_gateway.states import RunState

Now = Callable[[], datetime]
"""Tells the present time, aware, in UTC."""


class Datasets(Protocol):
    """Records of datasets."""

    async def create(self, dataset: DatasetRecord) -> DatasetRecord:
        """Store a new one, or give the one that the same request made before.

        Raises:
            AlreadyExists: The id is taken, or the request id by another dataset.
        """
        ...

    async def get(self, project: str, id_: str) -> DatasetRecord:
        """Read one; raises `NotFound`."""
        ...

    async def list(self, project: str, page: Page) -> Sequence[DatasetRecord]:
        """List a page, newest first."""
        ...

    async def change(
        self, uid: str, decide: Callable[[DatasetRecord], DatasetRecord]
    ) -> DatasetRecord:
        """Change one; raises `NotFound` or what `decide` raises."""
        ...

    async def delete(self, uid: str, prefix: str, now: datetime) -> None:
        """Delete one that no live run uses and doom its objects.

        Raises:
            NotAllowedInState: A live run uses it.
        """
        ...

    async def discard(self, uid: str, prefix: str, now: datetime) -> None:
        """Delete one whose files are still awaited and doom its objects; no other."""
        ...


class Runs(Protocol):
    """Records of runs."""

    async def create(self, run: RunRecord, quota: Quota | None = None) -> RunRecord:
        """Store a new run, or give the one that the same request made before.

        Raises:
            AlreadyExists: The id is taken, or the request id by another spec.
            QuotaExceeded: The project has no room for it.
        """
        ...

    async def requested(self, project: str, request_id: str, digest: str) -> RunRecord | None:
        """Read the run that a request made before; None if it made none.

        Raises:
            AlreadyExists: It asked for another run, of another digest.
        """
        ...

    async def get(self, project: str, id_: str) -> RunRecord:
        """Read one; raises `NotFound`."""
        ...

    async def get_uid(self, uid: str) -> RunRecord:
        """Read one by its uid; raises `NotFound`."""
        ...

    async def get_uids(self, uids: Collection[str]) -> Sequence[RunRecord]:
        """Read those of some uids that exist."""
        ...

    async def list(self, project: str, page: Page, which: RunFilter) -> Found[RunRecord]:
        """List a page, newest first; looking for rare ones may end before the page is full."""
        ...

    async def check_room(self, project: str, more: Held, quota: Quota) -> None:
        """Refuse runs that a project has no room for; raises `QuotaExceeded`."""
        ...

    async def change(self, uid: str, decide: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """Change one; a move that the states do not allow raises `NotAllowedInState`."""
        ...

    async def delete(self, uid: str, now: datetime) -> None:
        """Delete one with its events, epochs and log, and doom its objects.

        Raises:
            NotAllowedInState: It is live, or a live run starts from it or is compared with it.
        """
        ...


HandOut = Callable[
    [LaunchRecord, RunRecord | None, RunRecord | None],
    tuple[Sequence[RunRecord], RunRecord | None],
]


class Trainings(Protocol):
    """What trainers change."""

    async def hand_out(self, launch_uid: str, shard: int, decide: HandOut) -> RunRecord | None:
        """Let `decide` choose the next run of a shard.

        It is given the launch, the run whose attempt is open, if any, and the next queued one, if
        any, again and again until it chooses one or has none left to change.

        Raises:
            NotFound: The launch does not exist.
        """
        ...

    async def store_reports(self, reports: Sequence[Report], now: datetime) -> Sequence[Stored]:
        """Store reports of different runs together and say what became of each."""
        ...

    async def epochs(
        self, run_uid: str, after: tuple[int, int]
    ) -> Sequence[tuple[int, int, bytes]]:
        """Read (attempt, sequence, serialized Epoch) after an attempt and sequence, in order."""
        ...


class Launches(Protocol):
    """Records of launches."""

    async def plan(
        self, launches: Sequence[tuple[LaunchRecord, Sequence[tuple[str, int]]]]
    ) -> None:
        """Store launches with the runs that they take, as (uid, shard); skips runs that moved on.

        A launch none of whose runs are left is not stored.
        """
        ...

    async def live(self) -> Sequence[LaunchRecord]:
        """Read every launch that has not ended, in order of creation."""
        ...

    async def needless(self) -> Sequence[LaunchRecord]:
        """Read launches that were not issued yet and whose runs need no trainer any more."""
        ...

    async def cancelled(self) -> Sequence[str]:
        """Read uids of launches under way that cancelled runs have left with nothing to do."""
        ...

    async def get(self, uid: str) -> LaunchRecord:
        """Read one; raises `NotFound`."""
        ...

    async def change(
        self, uid: str, decide: Callable[[LaunchRecord], LaunchRecord]
    ) -> LaunchRecord:
        """Change one."""
        ...

    async def unfinished(
        self, uid: str, shards: Sequence[int] | None = None
    ) -> Sequence[RunRecord]:
        """Read runs of a launch that still need a trainer, or of some shards, without specs."""
        ...


class Work(Protocol):
    """What waits for the reconciler; all but `trained` leave the runs' specs out."""

    async def unplanned(self, limit: int) -> Sequence[RunRecord]:
        """Read queued runs that no launch has and whose batch, if any, is running."""
        ...

    async def trained(self, limit: int, besides: Collection[str]) -> Sequence[RunRecord]:
        """Read runs that are to be analyzed, besides those of some uids, oldest first."""
        ...

    async def cancelled_before(self, time: datetime, limit: int) -> Sequence[RunRecord]:
        """Read live runs whose cancelling was asked for before a time."""
        ...

    async def silent_since(self, time: datetime, limit: int) -> Sequence[RunRecord]:
        """Read runs with an open attempt that last reported, or was handed out, before a time."""
        ...

    async def overdue(self, now: datetime) -> Sequence[RunRecord]:
        """Read runs of batches with an open attempt that began longer ago than they may take.

        Those that waited in between may not have used their time up.
        """
        ...

    async def counts(self) -> Mapping[tuple[str, RunState], int]:
        """Count live runs by project and state."""
        ...

    async def oldest_queued(self) -> datetime | None:
        """Give the creation of the oldest run that waits for a trainer; None without one."""
        ...

    async def batch_counts(self, limit: int) -> Mapping[tuple[str, str, RunState], int]:
        """Count runs of the oldest batches that are not done, by project, batch id and state."""
        ...


class Batches(Protocol):
    """Records of batches."""

    async def create(self, batch: BatchRecord) -> BatchRecord:
        """Store a new one, or give the one that the same request made before."""
        ...

    async def requested(self, project: str, request_id: str) -> BatchRecord | None:
        """Read the batch that a request made before; None if it made none."""
        ...

    async def get(self, project: str, id_: str) -> BatchRecord:
        """Read one; raises `NotFound`."""
        ...

    async def get_uid(self, uid: str) -> BatchRecord:
        """Read one by its uid; raises `NotFound`."""
        ...

    async def list(self, project: str, page: Page) -> Sequence[BatchRecord]:
        """List a page, newest first."""
        ...

    async def change(self, uid: str, decide: Callable[[BatchRecord], BatchRecord]) -> BatchRecord:
        """Change one."""
        ...

    async def add(
        self, uid: str, runs: Sequence[RunRecord], expected: int, quota: Quota | None = None
    ) -> int:
        """Add runs to a batch that holds `expected` of them and give the new number.

        Raises:
            Conflict: The batch holds another number.
            QuotaExceeded: The project, or the batch, has no room for them.
        """
        ...

    async def counts(self, uid: str) -> BatchCounts:
        """Count its runs."""
        ...

    async def counts_of(self, uids: Collection[str]) -> Mapping[str, BatchCounts]:
        """Count the runs of some batches together."""
        ...

    async def members(self, uid: str, after: int, limit: int) -> Sequence[RunRecord]:
        """Read runs of a batch that stand behind a place, in order.

        Fewer than asked for where their specs are large, but always one if there is any.
        """
        ...

    async def digests(self, uid: str, after: int, limit: int) -> Sequence[str]:
        """Read the `spec_digest` of runs of a batch that stand behind a place, in order."""
        ...

    async def cancel(self, uid: str, now: datetime) -> BatchRecord:
        """Cancel every run that no trainer has, and ask the trainers of the others to stop."""
        ...

    async def end_finished(self, now: datetime) -> None:
        """End every batch that is filled and has no live run left."""
        ...

    async def add_retries(
        self,
        uid: str,
        make: Callable[[RunRecord, int], RunRecord],
        limit: int,
        quota: Quota | None = None,
    ) -> int:
        """Add a run, made of it and its place, for each failed one that has none; say how many.

        Raises:
            NotAllowedInState: The batch is being filled or suspended.
            QuotaExceeded: The project, or the batch, has no room for all of them.
        """
        ...

    async def live(self) -> Sequence[BatchRecord]:
        """Read every batch that is not done."""
        ...


class Events(Protocol):
    """Events and the output of trainings."""

    async def since(self, id_: int, limit: int) -> Sequence[Event]:
        """Read events after an id, in order."""
        ...

    async def last_id(self) -> int:
        """Give the id of the last event; 0 without one."""
        ...

    async def log(self, run_uid: str, after: tuple[int, int], limit: int) -> Sequence[Event]:
        """Read log events that hold entries after an attempt and sequence, in order.

        Fewer than asked for where they hold more than 1 MiB, but always one if there is any.
        """
        ...

    async def chunks(self, run_uid: str, after: tuple[int, int]) -> Sequence[LogChunk]:
        """Read stored chunks that hold entries after an attempt and sequence, in order."""
        ...

    async def archivable(
        self, older_than: datetime, min_bytes: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Give (run, attempt) whose log events are old or large enough to become a chunk."""
        ...

    async def archive(self, chunk: LogChunk) -> None:
        """Put a stored chunk in the place of the log events that it holds."""
        ...
