"""Launches: compared with what the launcher says of them, issued, stopped."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError, NotFound, Unavailable

from linnet_gateway import attempts, transitions
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.launches.fairness import Demand, ShardLimits, allot
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.launches.launcher import (
    Launch,
    Launcher,
    LaunchStatus,
    NoRoomYet,
    ShardState,
    ShardStatus,
)
from linnet_gateway.launches.refusals import failure_of
from linnet_gateway.launches.waiting import Waiting
from linnet_gateway.ports import Launches, Runs
from linnet_gateway.records import LaunchRecord, LaunchState, RunRecord
from linnet_gateway.states import Failure, FailureReason, RunState
from linnet_gateway.trainers.tokens import LaunchClaim, Tokens

_FINAL = {ShardState.SUCCEEDED, ShardState.FAILED}
_LAUNCHED_AT_ONCE = 8
"""Launches that are made side by side: each waits for three answers of a platform."""
_REFUSED_AT_ONCE = 8
"""After so many launches that there is no room for, a step asks for none of their project's."""


@dataclass(frozen=True, slots=True)
class ReconcilerLimits:
    """Times and numbers of the reconciler.

    Attributes:
        idle_s: Longest time between two steps.
        heartbeat: A trainer that is silent for longer is taken for dead.
        cancel_grace: Time that a trainer has to end a cancelled run by itself.
        orphan_grace: Launches that no record knows are removed after it.
        token_life: Life of a launch token.
        filling_life: A batch that is still being filled after it was given up by its client.
        batch_parallelism: Shards of a batch that run at once where the batch does not say.
        shards: How many shards run at once.
        retries: How often a run is tried again.
    """

    idle_s: float = 2.0
    heartbeat: timedelta = timedelta(seconds=60)
    cancel_grace: timedelta = timedelta(seconds=30)
    orphan_grace: timedelta = timedelta(seconds=60)
    token_life: timedelta = timedelta(days=7)
    filling_life: timedelta = timedelta(days=1)
    batch_parallelism: int = 50
    shards: ShardLimits = field(default_factory=ShardLimits)
    retries: RetryLimits = field(default_factory=RetryLimits)


class Launching:
    """Keeps launches and their records together."""

    def __init__(
        self,
        *,
        runs: Runs,
        launches: Launches,
        launcher: Launcher,
        tokens: Tokens,
        clock: Clock,
        limits: ReconcilerLimits,
        last_lines: LastLines,
    ) -> None:
        self._runs = runs
        self._last_lines = last_lines
        self._launches = launches
        self._launcher = launcher
        self._tokens = tokens
        self._clock = clock
        self._limits = limits
        self._statuses: Mapping[str, LaunchStatus] = {}
        self._parallelism: dict[str, int] = {}
        self._orphans: dict[str, float] = {}
        self._waiting = Waiting(runs, launches)
        self._log = logs.get("linnet.launching")

    async def crash_of(self, launch_uid: str, shard: int, trainer: str) -> Failure | None:
        """Tell why a trainer of a shard, by its name, ended, if the launcher says so.

        It is asked anew where nothing is known: the trainer ended a moment ago.
        """
        found = _crash_in(self._statuses, launch_uid, shard, trainer)
        if found is None:
            with suppress(Unavailable):
                found = _crash_in(await self._launcher.statuses(), launch_uid, shard, trainer)
        return found

    def crash_behind(self, launch_uid: str, shard: int, trainer: str) -> Failure | None:
        """Tell what ended a silent trainer of a shard; None if it lives or nobody knows."""
        waits = {ShardState.PENDING}
        return _crash_in(self._statuses, launch_uid, shard, trainer, nameless_in=waits)

    def runs(self, launch_uid: str, shard: int) -> bool:
        """Whether a trainer of a shard lived at the last look."""
        status = self._statuses.get(launch_uid)
        shards = () if status is None else status.shards
        return any(s.index == shard and s.state is ShardState.RUNNING for s in shards)

    async def look(self) -> None:
        """See how launches do without moving anything: another replica does that.

        What ended a trainer can be seen for a while only, and its next one may ask this replica.
        """
        self._statuses = await self._launcher.statuses()

    async def compare(self) -> None:
        """Look at every launch and take back what it did not finish; remove orphans."""
        self._statuses = await self._launcher.statuses()
        live = await self._launches.live()
        # Read after the statuses: a trainer says that its run is cancelled, and then it ends.
        cancelled = set(await self._launches.cancelled())
        for launch in live:
            status = self._statuses.get(launch.uid)
            if launch.state is LaunchState.STOPPING:
                await self._finish_stopping(launch, status)
            elif launch.uid in cancelled:
                await self.stop(launch.uid)
            elif launch.state is LaunchState.LAUNCHED or _is_over(status):
                await self._compare_launched(launch, status)
        for launch in await self._launches.needless():
            await self._end(launch)
        await self._remove_orphans({launch.uid for launch in live})

    async def _compare_launched(self, launch: LaunchRecord, status: LaunchStatus | None) -> None:
        if status is None:
            failure = Failure(
                FailureReason.LAUNCH_DELETED, "the launch was deleted by someone else"
            )
            await self._give_up(launch, failure)
            return
        failed = [s for s in status.shards if s.state is ShardState.FAILED]
        for shard in failed:
            why = shard.failure or status.failure or _crash("the shard failed")
            await self._leave_shard(launch, shard, why)
        if _is_over(status):
            why = status.failure or _crash("the launch ended before the run did")
            await self._give_up(launch, why)

    async def _leave_shard(self, launch: LaunchRecord, shard: ShardStatus, why: Failure) -> None:
        for run in await self._launches.unfinished(launch.uid, [shard.index]):
            # The trainer that broke the shard need not be the one that had the run.
            own = shard.ended.get(run.trainer, why) if run.attempt_open else why
            await self._leave(launch, run, why if attempts.blames_launch(why) else own)

    async def _leave(self, launch: LaunchRecord, run: RunRecord, failure: Failure) -> None:
        now, retries = self._clock.now(), self._limits.retries
        if run.attempt_open and not failure.log_tail:
            # Past its deadline, or deleted, a pod takes its output with it.
            failure = replace(failure, log_tail=await self._last_lines.of(run))

        # A launch of many has the longest deadline that there is, whatever its runs have.
        outlived = failure.reason is FailureReason.DEADLINE_EXCEEDED and launch.deadline is None

        def decide(current: RunRecord) -> RunRecord:
            if current.launch_uid != run.launch_uid:
                return current
            if outlived:
                return attempts.outlive_launch(current, failure, retries, now)
            if not current.attempt_open:
                # It was not its turn: what broke the shard says nothing about this run.
                blameless = replace(failure, reason=FailureReason.TRAINER_CRASHED)
                why = failure if attempts.blames_launch(failure) else blameless
                return attempts.leave_launch(current, why, retries, now)
            lost = attempts.lose_attempt(current, failure, retries, now)
            if lost.state.terminal or lost.state is RunState.QUEUED:
                return lost
            return attempts.leave_launch(lost, failure, retries, now)

        with suppress(NotFound):
            await self._runs.change(run.uid, decide)

    async def _give_up(self, launch: LaunchRecord, failure: Failure) -> None:
        for run in await self._launches.unfinished(launch.uid):
            await self._leave(launch, run, failure)
        await self._launcher.stop(launch.uid, keep_ended=True)
        await self._end(launch)

    async def _end(self, launch: LaunchRecord) -> None:
        now = self._clock.now()
        await self._launches.change(
            launch.uid, lambda old: replace(old, state=LaunchState.ENDED, end_time=now)
        )
        self._parallelism.pop(launch.uid, None)
        self._waiting.forget(launch.uid)

    async def _finish_stopping(self, launch: LaunchRecord, status: LaunchStatus | None) -> None:
        """End a launch that was stopped on purpose once nothing of it runs any more."""
        if status is not None and not status.ended:
            await self._launcher.stop(launch.uid)
            return
        if status is not None:
            await self._launcher.stop(launch.uid)
        now = self._clock.now()

        def back(run: RunRecord) -> RunRecord:
            # Another replica may have put it into its next launch meanwhile.
            return transitions.step_back(run, now) if run.launch_uid == launch.uid else run

        for run in await self._launches.unfinished(launch.uid):
            with suppress(NotFound):
                await self._runs.change(run.uid, back)
        await self._end(launch)

    async def _remove_orphans(self, known: set[str]) -> None:
        now = self._clock.monotonic()
        grace = self._limits.orphan_grace.total_seconds()
        strangers = self._statuses.keys() - known
        self._orphans = {uid: self._orphans.get(uid, now) for uid in strangers}
        for uid, since in self._orphans.items():
            if now - since >= grace or await self._is_ended(uid):
                self._log.info("orphan_removed", launch=uid)
                await self._launcher.stop(uid)

    async def _is_ended(self, uid: str) -> bool:
        try:
            return (await self._launches.get(uid)).state is LaunchState.ENDED
        except NotFound:
            return False

    async def issue(self) -> None:
        """Launch what may run now, and change how much of it runs at once."""
        live = await self._launches.live()
        demands = [self._demand(launch) for launch in live if launch.state <= LaunchState.LAUNCHED]
        allotted = allot(demands, self._limits.shards)
        wanted = {demand.uid: demand.wanted for demand in demands}
        changed: list[tuple[LaunchRecord, int]] = []
        for launch in live:
            parallelism = allotted.get(launch.uid, 0)
            known = self._parallelism.get(launch.uid, 0)
            # A launch that has nothing more to start need not be told to start less.
            enough = parallelism == wanted.get(launch.uid) and known >= parallelism
            if parallelism in {0, known} or enough:
                continue
            if launch.state is LaunchState.PLANNED or launch.uid in self._statuses:
                changed.append((launch, parallelism))
        await self._issue_all(changed)
        # After what may run: telling thousands why they wait must not hold up those that need not.
        limits = self._limits.shards
        why = (
            f"{limits.total} trainers run at once, at most {limits.per_project} of a project; "
            "others are before this one"
        )
        queued = [launch for launch in live if not allotted.get(launch.uid)]
        await self._waiting.tell(queued, "turn", why)

    async def _issue_all(self, changed: Sequence[tuple[LaunchRecord, int]]) -> None:
        """Launch some side by side, in their order; raises what one of them met."""
        refused: Counter[str] = Counter()

        async def one(launch: LaunchRecord, parallelism: int) -> None:
            try:
                await self._launch(launch, parallelism)
            except NoRoomYet as error:
                refused[launch.project] += 1
                self._log.debug("launch_has_no_room", launch=launch.uid, error=error.message)
                await self._waiting.tell([launch], "room", error.message)

        for first in range(0, len(changed), _LAUNCHED_AT_ONCE):
            # All of them end before an error is raised: none goes on behind the step's back.
            outcomes = await asyncio.gather(
                *(
                    one(launch, parallelism)
                    for launch, parallelism in changed[first : first + _LAUNCHED_AT_ONCE]
                    if launch.state is not LaunchState.PLANNED
                    or refused[launch.project] < _REFUSED_AT_ONCE
                ),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    def _demand(self, launch: LaunchRecord) -> Demand:
        status = self._statuses.get(launch.uid)
        final = sum(s.state in _FINAL for s in status.shards) if status is not None else 0
        return Demand(
            uid=launch.uid,
            project=launch.project,
            priority=launch.priority,
            wanted=max(min(launch.parallelism, launch.shard_count - final), 0),
            running=launch.state is LaunchState.LAUNCHED,
        )

    async def _launch(self, launch: LaunchRecord, parallelism: int) -> None:
        now = self._clock.now()
        token = self._tokens.for_launch(LaunchClaim(launch.uid), now, self._limits.token_life)
        try:
            await self._launcher.launch(
                Launch(
                    uid=launch.uid,
                    project=launch.project,
                    shard_count=launch.shard_count,
                    parallelism=parallelism,
                    token=token,
                    deadline=launch.deadline,
                    cpu_millis=launch.cpu_millis,
                    memory_bytes=launch.memory_bytes,
                    expert=launch.expert,
                    labels={"batch": launch.batch_id} if launch.batch_id else {},
                    spec_digest=launch.spec_digest,
                )
            )
        except Unavailable:
            raise
        except LinnetError as error:
            self._log.warning("launch_refused", launch=launch.uid, error=error.message)
            failure = failure_of(error)
            if launch.state is LaunchState.PLANNED or failure.reason.retryable:
                await self._give_up(launch, failure)
                return
            # What would not be launched any more, since limits were lowered, may still end.
        self._parallelism[launch.uid] = parallelism
        await self._launches.change(launch.uid, partial(_launched, now=now))
        await self._start_runs(launch)

    async def _start_runs(self, launch: LaunchRecord) -> None:
        # The first run of a shard starts with it; those behind it stay in the queue.
        if launch.state is not LaunchState.PLANNED or launch.batch_uid is not None:
            return
        for run in await self._launches.unfinished(launch.uid):
            with suppress(NotFound):
                await self._runs.change(run.uid, transitions.starting)

    async def stop(self, uid: str) -> None:
        """Stop a launch on purpose: its runs go back to the queue, none is charged for it."""

        def stopping(launch: LaunchRecord) -> LaunchRecord:
            live = launch.state in {LaunchState.PLANNED, LaunchState.LAUNCHED}
            return replace(launch, state=LaunchState.STOPPING) if live else launch

        await self._launches.change(uid, stopping)
        await self._launcher.stop(uid)


def _is_over(status: LaunchStatus | None) -> bool:
    """Whether a launch is known and over, although its record may not say yet that it began."""
    return status is not None and (status.ended or status.failure is not None)


def _launched(launch: LaunchRecord, *, now: datetime) -> LaunchRecord:
    if launch.state is not LaunchState.PLANNED:
        return launch
    return replace(launch, state=LaunchState.LAUNCHED, launch_time=now)


def _crash_in(
    statuses: Mapping[str, LaunchStatus],
    launch_uid: str,
    shard: int,
    trainer: str,
    nameless_in: Collection[ShardState] = tuple(ShardState),
) -> Failure | None:
    status = statuses.get(launch_uid)
    found = next((s for s in status.shards if s.index == shard), None) if status else None
    if found is None:
        return None
    if trainer:
        return found.ended.get(trainer)
    # Of a trainer that said no name the shard's latest failure has to do.
    return found.failure if found.state in nameless_in else None


def _crash(message: str) -> Failure:
    return Failure(FailureReason.TRAINER_CRASHED, message)
