"""What is done in the background so that nothing grows for ever: logs, objects, events, runs."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from linnet.v1 import run_pb2, runner_service_pb2
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError, NotAllowedInState, NotFound
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.converters import log_lines
from linnet_gateway.ports import Events, Runs
from linnet_gateway.records import Event, FileRecord, LogChunk, RunRecord

_CHUNKS_AT_ONCE = 100
_EVENTS_A_CHUNK = 2000
_DELETE_AT_ONCE = 1000
_EMPTIED_AT_ONCE = 200
"""Runs whose artifacts go in one transaction; each has some prefixes to be swept."""
_ENTRIES_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class RunLife:
    """How long the terminal runs of a project are kept.

    Attributes:
        life: After their end; None keeps them for ever.
        kept: Newest ones that are kept; 0 keeps all.
        log_life: Their output after their end; None keeps it as long as the run.
        artifact_life: Their artifacts after their end; None keeps them as long as the run.
    """

    life: timedelta | None = None
    kept: int = 0
    log_life: timedelta | None = None
    artifact_life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class KeepingLimits:
    """How long things are kept.

    Attributes:
        period_s: Between two rounds.
        output_period_s: Between two looks for output, artifacts and audit entries that are old.
        chunk_age: Output that is older moves to the store.
        chunk_bytes: Output of an attempt that is larger moves to the store.
        event_life: Hints for readers.
        runs: Terminal runs of a project that has no limits of its own.
        projects: Those of some projects, by id.
        sweep_delay: Before objects that nobody needs are deleted: a trainer, an evaluator or a
            client that does not know yet may still write beside them.
        upload_life: Datasets whose files were never finalized.
        launch_life: Records of launches that have ended.
        audit_life: Entries of the audit log; None keeps them for ever.
    """

    period_s: float = 5.0
    output_period_s: float = 600.0
    chunk_age: timedelta = timedelta(seconds=20)
    chunk_bytes: int = 256 * 1024
    event_life: timedelta = timedelta(hours=1)
    runs: RunLife = RunLife()
    projects: Mapping[str, RunLife] = field(default_factory=dict)
    sweep_delay: timedelta = timedelta()
    upload_life: timedelta = timedelta(hours=24)
    launch_life: timedelta = timedelta(days=7)
    audit_life: timedelta | None = None


class Keeping(Protocol):
    """What the records forget."""

    async def forget_events(self, older_than: datetime) -> None:
        """Delete hints that no reader waits for any more."""
        ...

    async def expired_runs(
        self,
        ended_before: datetime | None,
        kept: int,
        limit: int,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> Sequence[str]:
        """Give uids of terminal runs that ended before a time or are beyond the newest `kept`.

        Of one project, or of all but some.

        Runs of a batch that is still live stay: its results are not complete yet. So do those that
        a live run starts from or is compared with.
        """
        ...

    async def forget_logs(
        self,
        ended_before: datetime,
        limit: int,
        now: datetime,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> int:
        """Forget the stored output of runs that ended before a time, doom it, say of how many."""
        ...

    async def forget_artifacts(
        self,
        ended_before: datetime,
        limit: int,
        now: datetime,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> int:
        """Forget the artifacts of runs that ended before a time, doom them, say of how many.

        Those that `expired_runs` leaves stay whole.
        """
        ...

    async def prune_audit(self, older_than: datetime, limit: int, now: datetime) -> int:
        """Delete the oldest entries of the audit log, with a note of it; say how many."""
        ...

    async def expire_batches(self, ended_before: datetime, now: datetime) -> int:
        """Delete batches that ended before a time and whose runs are all gone; say how many."""
        ...

    async def forget_launches(self, ended_before: datetime) -> None:
        """Delete records of launches that ended before a time."""
        ...

    async def abandon_uploads(self, older_than: datetime, now: datetime) -> int:
        """Delete datasets that nobody finalized, doom their objects, and say how many."""
        ...

    async def doomed(self, before: datetime, limit: int) -> Sequence[str]:
        """Give prefixes, doomed before a time or at it, whose objects are to be deleted."""
        ...

    async def deleted(self, prefix: str) -> None:
        """Note that the objects of a prefix are gone."""
        ...


class Housekeeping:
    """Does one round after the other."""

    def __init__(
        self,
        *,
        keeping: Keeping,
        events: Events,
        runs: Runs,
        store: ObjectStore,
        clock: Clock,
        limits: KeepingLimits,
    ) -> None:
        self._keeping = keeping
        self._events = events
        self._runs = runs
        self._store = store
        self._clock = clock
        self._limits = limits
        self._output_at = float("-inf")
        self._log = logs.get("linnet.housekeeping")

    async def run(self, leads: Callable[[], bool]) -> None:
        """Do rounds, while `leads` allows it, until cancelled."""
        while True:
            await self._clock.sleep(self._limits.period_s)
            if leads():
                await self.round()

    async def round(self) -> None:
        """Do everything once."""
        parts = (self._archive, self._expire, self._drop_output)
        for part in (*parts, self._abandon, self._sweep, self._forget):
            await self._guarded(part)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except LinnetError as error:
            self._log.warning("housekeeping_postponed", part=part.__name__, error=error.message)
        except Exception:  # noqa: BLE001 - a fault in one part must not stop the others
            self._log.exception("housekeeping_failed", part=part.__name__)

    async def _archive(self) -> None:
        now = self._clock.now()
        ripe = await self._events.archivable(
            now - self._limits.chunk_age, self._limits.chunk_bytes, _CHUNKS_AT_ONCE
        )
        for run_uid, attempt in ripe:
            await self._archive_one(run_uid, attempt)

    async def _archive_one(self, run_uid: str, attempt: int) -> None:
        try:
            run = await self._runs.get_uid(run_uid)
        except NotFound:
            return
        while True:
            found = await self._events.log(run_uid, (attempt, 0), _EVENTS_A_CHUNK)
            events = [event for event in found if event.attempt == attempt]
            if not events:
                return
            await self._events.archive(await asyncio.to_thread(self._stored, run, events))
            # Little is left: it becomes the beginning of the next chunk.
            if sum(len(event.payload) for event in events) < self._limits.chunk_bytes:
                return

    def _stored(self, run: RunRecord, events: Sequence[Event]) -> LogChunk:
        """Store events of an attempt as a chunk."""
        entries: dict[int, run_pb2.LogEntry] = {}
        for event in events:
            for entry in runner_service_pb2.LogEntries.FromString(event.payload).entries:
                entries[entry.sequence] = entry
        first, last, attempt = min(entries), max(entries), events[0].attempt
        data = log_lines(entries[sequence] for sequence in sorted(entries))
        # One that was frozen while another stored more writes beside that, not over it.
        name = f"{first}-{last}.jsonl"
        file = FileRecord(
            name=name,
            key=f"{run.prefix}/attempts/{attempt}/log/{name}",
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self._store.put(file.key, data, "application/jsonl")
        return LogChunk(run.uid, attempt, first, last, file)

    async def _expire(self) -> None:
        limits, now = self._limits, self._clock.now()
        lives = [limits.runs, *limits.projects.values()]
        if all(one.life is None and not one.kept for one in lives):
            return
        await self._expire_of(limits.runs, now, besides=limits.projects.keys())
        for project, life in limits.projects.items():
            await self._expire_of(life, now, project=project)
        # A batch goes after the last of its runs, as late as the longest of them is kept.
        ages = [one.life for one in lives if one.life is not None]
        await self._keeping.expire_batches(now - max(ages, default=limits.event_life), now)

    async def _expire_of(
        self,
        life: RunLife,
        now: datetime,
        *,
        project: str | None = None,
        besides: Collection[str] = (),
    ) -> None:
        if life.life is None and not life.kept:
            return
        before = None if life.life is None else now - life.life
        expired = await self._keeping.expired_runs(
            before, life.kept, _DELETE_AT_ONCE, project=project, besides=besides
        )
        for uid in expired:
            # Somebody may have deleted it, or made a run that starts from it, meanwhile.
            with suppress(NotFound, NotAllowedInState):
                await self._runs.delete(uid, now)

    async def _drop_output(self) -> None:
        """Take what is old of runs that stay, and of the audit log, now and then."""
        limits, since = self._limits, self._clock.monotonic()
        if since < self._output_at:
            return
        found = [await self._drop_of(limits.runs, besides=limits.projects.keys())]
        for project, life in limits.projects.items():
            found.append(await self._drop_of(life, project=project))
        if limits.audit_life is not None:
            now = self._clock.now()
            before = now - limits.audit_life
            pruned = await self._keeping.prune_audit(before, _ENTRIES_AT_ONCE, now)
            found.append(pruned == _ENTRIES_AT_ONCE)
        if not any(found):
            self._output_at = since + limits.output_period_s

    async def _drop_of(
        self, life: RunLife, *, project: str | None = None, besides: Collection[str] = ()
    ) -> bool:
        """Take output and artifacts of a project's runs, or others'; say whether more is left."""
        now, keeping, more = self._clock.now(), self._keeping, False
        for forget, age, limit in (
            (keeping.forget_logs, life.log_life, _DELETE_AT_ONCE),
            (keeping.forget_artifacts, life.artifact_life, _EMPTIED_AT_ONCE),
        ):
            if age is not None:
                found = await forget(now - age, limit, now, project=project, besides=besides)
                more = more or found == limit
        return more

    async def _abandon(self) -> None:
        now = self._clock.now()
        await self._keeping.abandon_uploads(now - self._limits.upload_life, now)

    async def _sweep(self) -> None:
        before = self._clock.now() - self._limits.sweep_delay
        for prefix in await self._keeping.doomed(before, _DELETE_AT_ONCE):
            await asyncio.to_thread(self._delete_below, prefix)
            await self._keeping.deleted(prefix)

    def _delete_below(self, prefix: str) -> None:
        # What an attempt printed is kept as long as its run.
        log = f"{prefix}log/" if "/attempts/" in prefix else None
        found = (info.key for info in self._store.list(prefix))
        keys = [key for key in found if log is None or not key.startswith(log)]
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            self._store.delete(keys[start : start + _DELETE_AT_ONCE])

    async def _forget(self) -> None:
        now = self._clock.now()
        await self._keeping.forget_events(now - self._limits.event_life)
        await self._keeping.forget_launches(now - self._limits.launch_life)
