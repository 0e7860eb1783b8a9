"""Launches as folders with a process for each shard; survives the gateway's own death."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import AlreadyExists, Unavailable

from linnet_gateway.launches.launcher import Launch, LaunchStatus, ShardState
from linnet_gateway.process.shard import Shard
from linnet_gateway.states import Failure, FailureReason

_POLL_S = 0.1
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_BACK_OFF_S = (0.0, 1.0, 5.0, 15.0)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How trainers are run.

    Attributes:
        folder: Where launches are kept; one gateway at a time uses it.
        command: Program and arguments of a trainer.
        gateway: `host:port` of RunnerService as trainers reach it.
        gateway_ca_file: Authorities of RunnerService's certificate; None for plain text.
        grace_s: Time between SIGTERM and SIGKILL.
        retries: Trainers of a shard that may die before it has failed.
    """

    folder: Path
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "linnet_trainer", "run")
    gateway: str = ""
    gateway_ca_file: Path | None = None
    grace_s: float = 20.0
    retries: int = 3


@dataclass(slots=True)
class _Known:
    launch: Launch
    shards: list[Shard]
    begun: datetime
    stopping_since: float | None = None
    not_before: dict[int, float] | None = None


class ProcessLauncher:
    """Runs trainers on this machine. `run` must be going for anything to happen."""

    def __init__(self, settings: ProcessSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._readers: set[asyncio.Queue[str]] = set()
        self._told: dict[str, LaunchStatus] = {}
        self._log = logs.get("linnet.launcher")
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._adopt()

    async def launch(self, launch: Launch) -> None:
        """Start a launch; the same launch again changes nothing but its parallelism."""
        known = self._known.get(launch.uid)
        if known is not None and known.stopping_since is not None:
            raise Unavailable(f"launch {launch.uid} is being stopped", reason="LAUNCH_STOPPING")
        if known is not None and known.launch.spec_digest != launch.spec_digest:
            raise AlreadyExists(
                f"launch {launch.uid} exists with another digest",
                reason="LAUNCH_EXISTS",
                metadata={"launch": launch.uid},
            )
        begun = known.begun if known is not None else self._clock.now()
        self._write(launch, begun)
        if known is None:
            self._known[launch.uid] = _Known(launch, self._shards(launch), begun)
        else:
            known.launch = launch
        self._step(self._known[launch.uid])

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        """Say how every launch does that exists, by uid."""
        return {uid: self._status(known) for uid, known in self._known.items()}

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:  # noqa: ARG002
        """End a launch and forget it; shards get SIGTERM and a grace time.

        Its folder is nothing for people to look at, so it never stays.
        """
        known = self._known.get(uid)
        if known is None or known.stopping_since is not None:
            return
        known.stopping_since = self._clock.monotonic()
        (self._folder(uid) / "stopping").touch()
        for shard in known.shards:
            shard.signal(signal.SIGTERM)
        self._step(known)

    async def end_trainer(self, uid: str, shard: int, trainer: str) -> None:
        """Kill a trainer of one shard; what follows is that of a crash, the others go on."""
        known = self._known.get(uid)
        if known is None or shard >= len(known.shards):
            return
        if trainer in {"", known.shards[shard].trainer}:
            known.shards[shard].signal(signal.SIGKILL)

    async def changes(self) -> AsyncIterator[str]:
        """Give the uid of each launch whose status may have changed, until cancelled."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=1000)
        self._readers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._readers.discard(queue)

    async def ping(self) -> None:
        """Make sure that launches can be made."""
        if not os.access(self._settings.folder, os.W_OK):
            raise Unavailable(f"folder {self._settings.folder} can't be written to")

    async def run(self) -> None:
        """Watch trainers until cancelled; they live on."""
        while True:
            for known in list(self._known.values()):
                self._step(known)
            await self._clock.sleep(_POLL_S)

    def _adopt(self) -> None:
        """Take up what an earlier gateway has launched."""
        for path in sorted(self._settings.folder.glob("*/launch.json")):
            try:
                values: dict[str, Any] = json.loads(path.read_text())
                token = (path.parent / "token").read_text()
            except (OSError, ValueError):
                shutil.rmtree(path.parent, ignore_errors=True)
                continue
            begun = datetime.fromisoformat(values.pop("begun"))
            deadline_s = values.pop("deadline_s")
            launch = Launch(
                token=token,
                deadline=None if deadline_s is None else timedelta(seconds=deadline_s),
                **values,
            )
            known = _Known(launch, self._shards(launch), begun)
            if (path.parent / "stopping").exists():
                known.stopping_since = self._clock.monotonic()
            self._known[launch.uid] = known
            alive = [shard.index for shard in known.shards if shard.alive()]
            self._log.info("launch_adopted", launch=launch.uid, alive=alive)

    def _folder(self, uid: str) -> Path:
        return self._settings.folder / uid

    def _shards(self, launch: Launch) -> list[Shard]:
        folder = self._folder(launch.uid)
        retries = self._settings.retries
        return [
            Shard(folder / str(index), index, retries=retries)
            for index in range(launch.shard_count)
        ]

    def _write(self, launch: Launch, begun: datetime) -> None:
        folder = self._folder(launch.uid)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = folder / "token.new"
        with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - Path.open takes no mode of a new file
            file.write(launch.token)
        token.replace(folder / "token")
        values = {
            "uid": launch.uid,
            "project": launch.project,
            "shard_count": launch.shard_count,
            "parallelism": launch.parallelism,
            "deadline_s": None if launch.deadline is None else launch.deadline.total_seconds(),
            "cpu_millis": launch.cpu_millis,
            "memory_bytes": launch.memory_bytes,
            "expert": launch.expert,
            "labels": dict(launch.labels),
            "spec_digest": launch.spec_digest,
            "begun": begun.astimezone(UTC).isoformat(),
        }
        new = folder / "launch.json.new"
        new.write_text(json.dumps(values))
        new.replace(folder / "launch.json")

    def _step(self, known: _Known) -> None:
        for shard in known.shards:
            shard.settle()
        if known.stopping_since is not None:
            self._stop_step(known, known.stopping_since)
        else:
            self._deadline_step(known)
            self._start_step(known)
        self._tell(known)

    def _stop_step(self, known: _Known, since: float) -> None:
        alive = [shard for shard in known.shards if shard.alive()]
        if not alive:
            # The folder goes in one step, so that no half of it is ever adopted.
            doomed = self._settings.folder / f".{known.launch.uid}"
            shutil.rmtree(doomed, ignore_errors=True)
            self._folder(known.launch.uid).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
            del self._known[known.launch.uid]
            return
        late = self._clock.monotonic() - since >= self._settings.grace_s
        for shard in alive:
            # Again and again: a trainer may have been about to start when it was stopped.
            shard.signal(signal.SIGKILL if late else signal.SIGTERM)

    def _deadline_step(self, known: _Known) -> None:
        deadline = known.launch.deadline
        if deadline is None or self._clock.now() - known.begun < deadline:
            return
        failure = Failure(
            FailureReason.DEADLINE_EXCEEDED, f"the launch took longer than its deadline, {deadline}"
        )
        for shard in known.shards:
            if shard.facts.state is None:
                shard.end(failure)
            shard.signal(signal.SIGKILL)

    def _start_step(self, known: _Known) -> None:
        waiting = [s for s in known.shards if s.facts.state is None and not s.alive()]
        running = sum(s.alive() for s in known.shards)
        now = self._clock.monotonic()
        for shard in waiting:
            if running >= known.launch.parallelism:
                return
            if self._backs_off(known, shard, now):
                continue
            shard.start(self._settings.command, self._environment(known.launch, shard))
            running += 1

    @staticmethod
    def _backs_off(known: _Known, shard: Shard, now: float) -> bool:
        if known.not_before is None:
            known.not_before = {}
        pause = _BACK_OFF_S[min(shard.facts.crashes, len(_BACK_OFF_S) - 1)]
        key = shard.index * 1000 + shard.facts.crashes
        return now < known.not_before.setdefault(key, now + pause)

    def _environment(self, launch: Launch, shard: Shard) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        scratch = self._folder(launch.uid) / str(shard.index) / "scratch"
        scratch.mkdir(exist_ok=True)
        authorities = self._settings.gateway_ca_file
        if authorities is not None:
            inherited["LINNET_TRAINER_GATEWAY_CA_FILE"] = str(authorities.absolute())
        return inherited | {
            "HOME": str(scratch),
            "KERAS_HOME": str(scratch / "keras"),
            "JOB_COMPLETION_INDEX": str(shard.index),
            "LINNET_TRAINER_GATEWAY": self._settings.gateway,
            "LINNET_TRAINER_TOKEN_FILE": str(self._folder(launch.uid) / "token"),
        }

    def _status(self, known: _Known) -> LaunchStatus:
        shards = tuple(shard.status() for shard in known.shards)
        alive = any(shard.alive() for shard in known.shards)
        final = all(s.state in {ShardState.SUCCEEDED, ShardState.FAILED} for s in shards)
        ended = not alive and (final or known.stopping_since is not None)
        return LaunchStatus(known.launch.uid, ended, shards)

    def _tell(self, known: _Known) -> None:
        uid = known.launch.uid
        status = self._status(known) if uid in self._known else LaunchStatus(uid, True, ())
        if self._told.get(uid) == status:
            return
        self._told[uid] = status
        if uid not in self._known:
            del self._told[uid]
        for reader in self._readers:
            if not reader.full():
                reader.put_nowait(uid)
