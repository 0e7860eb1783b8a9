"""Launchers whose trainers do nothing until a test ends them: the fake, and processes."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from linnet_gateway.launches.launcher import Launch, Launcher, ShardState
from linnet_gateway.process.launcher import ProcessLauncher, ProcessSettings
from linnet_runtime.clock import SystemClock

from tests.fakes.gateway import until
from tests.fakes.launcher import FakeLauncher


class Adapter(Protocol):
    """A launcher whose trainers do nothing until a test ends them."""

    launcher: Launcher

    async def running(self, uid: str) -> list[int]:
        """Indices of shards with a trainer alive, in order."""

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        """End the living trainer of a shard with that exit code."""

    async def name(self, uid: str, index: int) -> str:
        """Give the name that the living trainer of a shard was told."""

    async def remains(self, uid: str) -> list[str]:
        """Name what the launch has left on the platform: processes, folders, objects."""


class FakeAdapter:
    def __init__(self) -> None:
        self.fake = FakeLauncher()
        self.launcher: Launcher = self.fake

    async def running(self, uid: str) -> list[int]:
        shards = self.fake.shards.get(uid, [])
        return [s.index for s in shards if s.state is ShardState.RUNNING]

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        self.fake.finish(uid, index, exit_code)

    async def name(self, uid: str, index: int) -> str:
        return self.fake.trainers[uid, index]

    async def remains(self, uid: str) -> list[str]:
        return [name for name in self.fake.launches if name == uid]


class ProcessAdapter:
    """Trainers are shells that wait for a file with the exit code to end with."""

    COMMAND = (
        "/bin/sh",
        "-c",
        (
            'echo "$LINNET_TRAINER_NAME" > name; '
            "while [ ! -e finish ]; do sleep 0.02; done; read code < finish; rm finish; exit $code"
        ),
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = ProcessSettings(folder=folder, command=self.COMMAND, grace_s=1.0)
        self.launcher: ProcessLauncher = ProcessLauncher(settings, SystemClock())
        self.task = asyncio.create_task(self.launcher.run())

    async def running(self, uid: str) -> list[int]:
        statuses = await self.launcher.statuses()
        shards = statuses[uid].shards if uid in statuses else ()
        return [s.index for s in shards if s.state is ShardState.RUNNING]

    async def finish(self, uid: str, index: int, exit_code: int) -> None:
        # Renamed into place, so that the trainer never reads half of it.
        path = self.folder / uid / str(index) / "finish"
        path.with_name("finish.new").write_text(f"{exit_code}\n")
        path.with_name("finish.new").replace(path)

    async def name(self, uid: str, index: int) -> str:
        path, found = self.folder / uid / str(index) / "name", [""]

        async def told() -> bool:
            found[0] = path.read_text().strip() if path.exists() else ""
            return bool(found[0])

        await until(told)
        return found[0]

    async def remains(self, uid: str) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.name.lstrip(".") == uid]

    async def close(self) -> None:
        for uid in await self.launcher.statuses():
            await self.launcher.stop(uid)

        async def gone() -> bool:
            return not await self.launcher.statuses()

        await until(gone)
        self.task.cancel()


def a_launch(uid: str = "l-one", shard_count: int = 1, parallelism: int = 1) -> Launch:
    """Make a launch of project `demo`."""
    return Launch(
        uid=uid,
        project="demo",
        shard_count=shard_count,
        parallelism=parallelism,
        token="secret-launch-token",
        deadline=timedelta(minutes=5),
        cpu_millis=500,
        memory_bytes=512 * 1024 * 1024,
        expert=False,
        labels={"batch": "b-one"},
        spec_digest="d" * 64,
    )
