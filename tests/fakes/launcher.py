"""A launcher whose trainers are entries of a dictionary; tests end them by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from linnet_gateway.launches.launcher import (
    Launch,
    LaunchStatus,
    ShardState,
    ShardStatus,
    kept_ends,
)
from linnet_gateway.states import Failure, FailureReason
from linnet_runtime.errors import AlreadyExists, LinnetError, Unavailable
from linnet_runtime.lifecycle import ExitCode


class FakeLauncher:
    """Runs nothing: `finish` says how a shard's trainer ended; `down` makes every call fail.

    `trainers` are the names of those that run, by launch and shard; `refusals` are what launches of
    a project end with, by the project's id.
    """

    def __init__(self, *, retries: int = 3) -> None:
        self.launches: dict[str, Launch] = {}
        self.shards: dict[str, list[ShardStatus]] = {}
        self.started: list[tuple[str, int]] = []
        self.failures: dict[str, Failure] = {}
        self.down = False
        self.refusals: dict[str, LinnetError] = {}
        self.trainers: dict[tuple[str, int], str] = {}
        self._crashes: dict[tuple[str, int], int] = {}
        self._retries = retries
        self._changed: list[asyncio.Queue[str]] = []

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the fake launcher is down")

    async def launch(self, launch: Launch) -> None:
        self._check()
        if launch.project in self.refusals:
            raise self.refusals[launch.project]
        known = self.launches.get(launch.uid)
        if known is not None and known.spec_digest != launch.spec_digest:
            raise AlreadyExists(f"launch {launch.uid} exists with another digest")
        self.launches[launch.uid] = launch
        if known is None:
            self.shards[launch.uid] = [
                ShardStatus(i, ShardState.PENDING) for i in range(launch.shard_count)
            ]
        self._fill(launch.uid)

    def _fill(self, uid: str) -> None:
        shards = self.shards[uid]
        free = self.launches[uid].parallelism - sum(s.state is ShardState.RUNNING for s in shards)
        for shard in shards:
            if free > 0 and shard.state is ShardState.PENDING:
                shards[shard.index] = replace(shard, state=ShardState.RUNNING)
                self.started.append((uid, shard.index))
                self.trainers[uid, shard.index] = f"{uid}-{shard.index}-{len(self.started)}"
                free -= 1
        self._tell(uid)

    def _tell(self, uid: str) -> None:
        for queue in self._changed:
            queue.put_nowait(uid)

    def finish(self, uid: str, index: int, exit_code: int) -> None:
        """End the trainer of a running shard with that exit code."""
        shard = self.shards[uid][index]
        assert shard.state is ShardState.RUNNING, shard
        if exit_code == 0:
            shard = replace(shard, state=ShardState.SUCCEEDED)
        else:
            memory = exit_code == ExitCode.OUT_OF_MEMORY
            reason = FailureReason.OUT_OF_MEMORY if memory else FailureReason.TRAINER_CRASHED
            failure = Failure(reason, f"exit code {exit_code}", exit_code, memory)
            crashes = self._crashes[uid, index] = self._crashes.get((uid, index), 0) + 1
            final = exit_code in {64, 65, 78} or crashes > self._retries
            state = ShardState.FAILED if final else ShardState.PENDING
            ended = kept_ends(shard.ended, self.trainers[uid, index], failure)
            shard = ShardStatus(index, state, failure, ended)
        self.shards[uid][index] = shard
        self._fill(uid)

    def fail_launch(self, uid: str, failure: Failure, shards: Sequence[ShardStatus]) -> None:
        """Fail a launch as a whole, and these shards of it."""
        self.failures[uid] = failure
        for shard in shards:
            self.shards[uid][shard.index] = shard

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        self._check()
        final = {ShardState.SUCCEEDED, ShardState.FAILED}
        return {
            uid: LaunchStatus(
                uid, all(s.state in final for s in shards), tuple(shards), self.failures.get(uid)
            )
            for uid, shards in self.shards.items()
        }

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:
        self._check()
        self.launches.pop(uid, None)
        if self.shards.pop(uid, None) is not None:
            self._tell(uid)

    async def end_trainer(self, uid: str, shard: int, trainer: str) -> None:
        self._check()
        shards = self.shards.get(uid, [])
        running = shard < len(shards) and shards[shard].state is ShardState.RUNNING
        if running and trainer in {"", self.trainers[uid, shard]}:
            self.finish(uid, shard, ExitCode.CRASHED)

    async def changes(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._changed.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._changed.remove(queue)

    async def ping(self) -> None:
        self._check()
