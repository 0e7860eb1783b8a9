"""What outlives gateways, as it does in a cluster: trainers, launcher, store and database."""

import hashlib
import random
from pathlib import Path

from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2
from linnet_gateway.launches.launcher import ShardState
from linnet_gateway.records import DatasetFacts, DatasetRecord
from linnet_gateway.reported import Report
from linnet_gateway.sql.store import Records
from linnet_gateway.states import DatasetState
from linnet_runtime.errors import LinnetError, PermissionDenied

from tests.fakes.clock import ManualClock
from tests.fakes.faults import Faults, KillableLauncher
from tests.fakes.killable import Gateway
from tests.fakes.launcher import FakeLauncher
from tests.fakes.objectstore import MemoryStore

FILES = {"model.keras": b"k", "model.int8.tflite": b"i", "manifest.json": b"m"}
EPOCHS = 2


class Trainer:
    """A trainer, one small step at a time; lives as long as its shard runs."""

    def __init__(self, world: "World", uid: str, index: int) -> None:
        self.world = world
        self.uid = uid
        self.index = index
        self.token = world.token_of(uid)
        self.name = world.name_of(uid, index)
        self.assignment: runner_service_pb2.Assignment | None = None
        self.epoch = 0
        self.uploads: list[dataset_pb2.PresignedRequest] | None = None

    @property
    def holds(self) -> str | None:
        """The run that it works on."""
        return None if self.assignment is None else self.assignment.run

    async def step(self, gateway: Gateway) -> int | None:
        """Do one thing; gives an exit code at the end."""
        runner = gateway.runner
        gateway.faults.doing = "launch" if self.assignment is None else "finish"
        if self.assignment is None:
            claim = runner.launch_of(self.token)
            self.assignment = await runner.acquire(claim, self.index, self.name)
            self.epoch, self.uploads = 0, None
            return 0 if self.assignment is None else None
        claim = runner.run_of(self.assignment.run_token)
        try:
            if self.epoch < EPOCHS:
                return await self._report(gateway)
            if self.uploads is None:
                self.uploads = await runner.create_uploads(claim, stored_files())
                return None
            for upload in self.uploads:
                self.world.store.put(upload.url.removeprefix("memory:PUT:"), FILES[upload.name])
            result = runner_service_pb2.TrainingResult(files=stored_files())
            await runner.finish(claim, runner_service_pb2.FinishRunRequest(result=result))
        except PermissionDenied:
            self.assignment = None
            return None
        self.assignment = None
        return None

    async def _report(self, gateway: Gateway) -> int | None:
        assignment = self.assignment
        assert assignment is not None
        gateway.faults.doing = "progress"
        claim = gateway.runner.run_of(assignment.run_token)
        number = self.epoch + 1
        crash = self.world.crash_of(assignment.run, assignment.attempt)
        entry = run_pb2.LogEntry(
            attempt=assignment.attempt, sequence=number, epoch=run_pb2.Epoch(number=number)
        )
        entries = runner_service_pb2.LogEntries(entries=[entry]).SerializeToString()
        report = Report(
            run_uid=claim.run_uid,
            attempt=claim.attempt,
            first=number,
            last=number,
            entries=entries,
            epochs={number: entry.epoch.SerializeToString()},
            progress=b"",
            phase=2,
            memory_bytes=1,
            time_used_us=1,
        )
        now = self.world.clock.now()
        stored = (await gateway.records.trainings.store_reports([report], now))[0]
        if not stored.current:
            raise PermissionDenied("stale")
        if stored.cancelled:
            request = runner_service_pb2.FinishRunRequest(cancelled=True)
            await gateway.runner.finish(claim, request)
            self.assignment = None
            return None
        self.epoch = stored.sequence
        return crash


def stored_files() -> list[dataset_pb2.StoredFile]:
    """Describe what a trainer uploads."""
    return [
        dataset_pb2.StoredFile(
            name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        for name, data in FILES.items()
    ]


class World:
    """What outlives gateways; records are in a folder's records.db, or where the URL says."""

    def __init__(self, folder: Path, seed: int, url: str = "") -> None:
        self.url = url or f"sqlite:///{folder / 'records.db'}"
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.launcher = FakeLauncher()
        self.random = random.Random(seed)
        self.trainers: dict[tuple[str, int], Trainer] = {}
        self.crashes: dict[tuple[str, int], int] = {}
        self.acknowledged: set[str] = set()

    async def begin(self) -> None:
        """Make the dataset that runs use."""
        records = Records(self.url, self.clock.now)
        await records.datasets.create(
            DatasetRecord(
                uid="d1",
                project="demo",
                id="watch",
                create_time=self.clock.now(),
                state=DatasetState.READY,
                display_name="",
                input_kind=1,
                classes=("a", "b"),
                feature_names=(),
                files=(),
                facts=DatasetFacts((4,), 40, (20, 20), 0, 0, 16),
            )
        )
        records.close()

    def launcher_of(self, faults: Faults) -> KillableLauncher:
        """Give the launcher as a gateway that may die reaches it."""
        return KillableLauncher(self.launcher, faults)

    def token_of(self, uid: str) -> str:
        """Give what a launch's trainers present."""
        return self.launcher.launches[uid].token

    def name_of(self, uid: str, index: int) -> str:
        """Give the name of the trainer that a shard runs."""
        return self.launcher.trainers[uid, index]

    def crash_of(self, run: str, attempt: int) -> int | None:
        """Give the code that the trainer of an attempt crashes with; None for none."""
        return self.crashes.get((run, attempt))

    async def end_trainer(self, uid: str, index: int, code: int) -> None:
        """End the process of a shard's trainer."""
        self.launcher.finish(uid, index, code)

    async def turn(self) -> None:
        """Let the platform do its part; nothing here, where it does so at each call."""

    async def step_trainers(self, gateway: Gateway) -> None:
        """Let every living trainer do one thing, in an order of chance."""
        running = {
            (uid, shard.index)
            for uid, shards in self.launcher.shards.items()
            for shard in shards
            if shard.state is ShardState.RUNNING
        }
        for place, trainer in list(self.trainers.items()):
            if place not in running or trainer.name != self.name_of(*place):
                del self.trainers[place]
        for new in running - self.trainers.keys():
            self.trainers[new] = Trainer(self, *new)
        for place in self.random.sample(sorted(running), len(running)):
            trainer = self.trainers.get(place)
            if trainer is None or place[0] not in self.launcher.shards:
                continue
            code = None
            try:
                code = await trainer.step(gateway)
            except LinnetError:
                continue  # it tries again, as the real one does
            finally:
                self.check_held()
            if code is not None:
                del self.trainers[place]
                await self.end_trainer(*place, code)

    def check_held(self) -> None:
        """No two living trainers hold the same run."""
        alive = [t for place, t in self.trainers.items() if place[0] in self.launcher.shards]
        held = [t.holds for t in alive if t.holds is not None]
        assert len(held) == len(set(held)), held
