"""Streams of a run: its record and epochs, and its output; each resumes from a token."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from linnet.v1 import run_pb2
from linnet_runtime.errors import InvalidInput, NotFound
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.ports import Events, Runs, Trainings
from linnet_gateway.records import EventKind, RunRecord
from linnet_gateway.runs.kept import check_log_kept
from linnet_gateway.runs.logged_epochs import epochs_in
from linnet_gateway.runs.stored_log import Position, StoredLog
from linnet_gateway.tail import EventTail, Subscription

_HEARTBEAT_S = 15.0

_NUMBER_LIMIT = 2**63
"""What the records hold as a number ends there."""


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What a watcher is told: the run, if not only epochs came, and where to resume."""

    run: RunRecord | None
    epochs: Sequence[run_pb2.Epoch]
    token: str


@dataclass(frozen=True, slots=True)
class LogUpdate:
    """What a follower is told: entries, where to resume, and whether nothing more will come."""

    entries: Sequence[run_pb2.LogEntry]
    token: str
    end: bool


def _token(*numbers: int) -> str:
    return base64.urlsafe_b64encode(json.dumps(numbers).encode()).decode()


def _read_token(text: str, count: int) -> tuple[int, ...]:
    if not text:
        return (0,) * count
    try:
        numbers = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, RecursionError):
        numbers = None
    if (
        not isinstance(numbers, list)
        or len(numbers) != count
        or not all(type(n) is int and 0 <= n < _NUMBER_LIMIT for n in numbers)
    ):
        raise InvalidInput.of(
            "resume_token", "expected a token of this stream, received something else"
        )
    return tuple(numbers)


class Watching:
    """Streams of runs."""

    def __init__(
        self,
        runs: Runs,
        trainings: Trainings,
        events: Events,
        store: ObjectStore,
        tail: EventTail,
        *,
        heartbeat_s: float = _HEARTBEAT_S,
    ) -> None:
        self._runs = runs
        self._trainings = trainings
        self._stored = StoredLog(events, store)
        self._tail = tail
        self._heartbeat_s = heartbeat_s

    async def watch(self, project: str, id_: str, token: str) -> AsyncIterator[RunUpdate]:
        """Give the run at each change and each epoch until it is terminal."""
        version, attempt, sequence = _read_token(token, 3)
        position: Position = (attempt, sequence)
        run = await self._runs.get(project, id_)
        with self._tail.subscribe(run.uid) as subscription:
            told = False
            while True:
                run = await self._runs.get_uid(run.uid)
                rows = await self._trainings.epochs(run.uid, position)
                if rows:
                    position = (rows[-1][0], rows[-1][1])
                if not told or rows or run.version != version:
                    told, version = True, run.version
                    epochs = [run_pb2.Epoch.FromString(row[2]) for row in rows]
                    yield RunUpdate(run, epochs, _token(version, *position))
                if run.state.terminal:
                    return
                # Epochs come with their events; only what else happens is worth reading again.
                async for new, reached in self._live_epochs(subscription, position):
                    position = reached
                    yield RunUpdate(None, new, _token(version, *position))

    async def _live_epochs(
        self, subscription: Subscription, position: Position
    ) -> AsyncIterator[tuple[list[run_pb2.Epoch], Position]]:
        """Give epochs out of events until something else happens, or nothing for a heartbeat."""
        while True:
            events, lagged = await subscription.wait(self._heartbeat_s)
            if lagged or not events:
                return
            epochs: list[run_pb2.Epoch] = []
            for event in events:
                if event.kind is not EventKind.LOG:
                    continue
                for sequence, epoch in epochs_in(event.payload):
                    place = (event.attempt, sequence)
                    if place > position:
                        epochs.append(epoch)
                        position = place
            if epochs:
                yield epochs, position
            if any(event.kind is not EventKind.LOG for event in events):
                return

    async def log(
        self, project: str, id_: str, token: str, *, follow: bool
    ) -> AsyncIterator[LogUpdate]:
        """Give the output of a run, all attempts in order, exactly once.

        Raises:
            NotAllowedInState: Retention took it (LOG_EXPIRED).
        """
        attempt, sequence = _read_token(token, 2)
        position: Position = (attempt, sequence)
        run = await self._runs.get(project, id_)
        with self._tail.subscribe(run.uid) as subscription:
            while True:
                run = await self._runs.get_uid(run.uid)
                check_log_kept(run)
                done = run.state.terminal or not follow
                try:
                    async for entries in self._stored.after(run.uid, position):
                        last = entries[-1]
                        position = (last.attempt, last.sequence)
                        yield LogUpdate(entries, _token(*position), end=False)
                except NotFound:
                    # Retention took it while it was read.
                    check_log_kept(await self._runs.get_uid(run.uid))
                    raise
                if done:
                    yield LogUpdate([], _token(*position), end=True)
                    return
                came, _ = await subscription.wait(self._heartbeat_s)
                if not came:
                    # Tells the reader, and every proxy between, that the stream is alive.
                    yield LogUpdate([], _token(*position), end=False)
