"""A world in which gateways die at any numbered point and everything else lives on.

A point lies before and after each transaction, each call of the launcher and each call of the
store. What a dead gateway still tries to do, fails. Trainers, launcher, store and database outlive
it, as they do in a cluster.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from linnet.v1 import dataset_pb2, evaluation_pb2, profile_pb2, run_pb2, runner_service_pb2
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.batches.filling import BatchFilling
from linnet_gateway.datasets.files import DatasetFiles
from linnet_gateway.launches.fairness import ShardLimits
from linnet_gateway.launches.launcher import Launch, LaunchStatus, ShardState
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
from linnet_gateway.reconciling.analysis import Analysis, AnalysisLimits
from linnet_gateway.reconciling.housekeeping import Housekeeping, KeepingLimits
from linnet_gateway.reconciling.reconciler import Reconciler
from linnet_gateway.records import DatasetFacts, DatasetRecord, FileRecord
from linnet_gateway.reported import Report
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_gateway.specs.resolution import ResourceLimits, SpecResolution
from linnet_gateway.sql.store import Records
from linnet_gateway.states import DatasetState
from linnet_gateway.targets import Targets
from linnet_gateway.trainers.runner import Runner
from linnet_gateway.trainers.tokens import Tokens
from linnet_runtime.errors import LinnetError, PermissionDenied, Unavailable

from tests.fakes.analysts import TARGETS
from tests.fakes.clock import ManualClock
from tests.fakes.launcher import FakeLauncher
from tests.fakes.objectstore import MemoryStore

KEY = b"k" * 32
FILES = {"model.keras": b"k", "model.int8.tflite": b"i", "manifest.json": b"m"}
EPOCHS = 2
_NO_LIMITS = ShardLimits()


class Killed(BaseException):
    """The gateway that runs this is dead."""


@dataclass
class Faults:
    """When a gateway dies, and how often the store fails.

    Attributes:
        kill_at: Number of the point at which it dies; 0 for never.
        store_failures: Share of store calls that fail, half of them after they took effect.
        lost_answers: Share of commits and launcher calls that take effect but whose answer is lost.
        doing: What the gateway does now.
        crossed: What it did at each point so far.
    """

    kill_at: int = 0
    store_failures: float = 0.0
    lost_answers: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    points: int = 0
    dead: bool = False
    doing: str = ""
    crossed: list[str] = field(default_factory=list)

    def point(self) -> None:
        """Die here, if this is the point, or if it was before."""
        self.points += 1
        self.crossed.append(self.doing)
        if self.points == self.kill_at:
            self.dead = True
        if self.dead:
            raise Killed

    def answer(self) -> None:
        """Lose the answer of what took effect, by chance."""
        if self.lost_answers and self.chance.random() < self.lost_answers:
            raise Unavailable("the answer is lost")

    def around(self, call: Callable[[], Any]) -> Any:
        """Call with a point before and after."""
        self.point()
        answer = call()
        self.point()
        return answer


class FaultyStore(MemoryStore):
    """The store as a gateway reaches it."""

    def __init__(self, inner: MemoryStore, faults: Faults) -> None:
        self.objects = inner.objects
        self._faults = faults

    def _call(self, call: Callable[[], Any]) -> Any:
        fails = self._faults.chance.random() < self._faults.store_failures
        if fails and self._faults.chance.random() < 0.5:
            raise Unavailable("the store fails before it has done it")
        answer = self._faults.around(call)
        if fails:
            raise Unavailable("the store's answer is lost")
        return answer

    def put(self, key: str, data: bytes, content_type: str = "") -> None:
        self._call(lambda: MemoryStore.put(self, key, data, content_type))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return bytes(self._call(lambda: MemoryStore.get(self, key, offset=offset, length=length)))

    def stat(self, key: str) -> Any:
        return self._call(lambda: MemoryStore.stat(self, key))

    def list(self, prefix: str) -> Iterable[Any]:
        found: Iterable[Any] = self._call(lambda: MemoryStore.list(self, prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        self._call(lambda: MemoryStore.delete(self, keys))


class KillableLauncher:
    """The launcher as a gateway reaches it."""

    def __init__(self, inner: FakeLauncher, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def launch(self, launch: Launch) -> None:
        self._faults.point()
        await self._inner.launch(launch)
        self._faults.point()
        self._faults.answer()

    async def statuses(self) -> Mapping[str, LaunchStatus]:
        self._faults.point()
        return await self._inner.statuses()

    async def stop(self, uid: str, *, keep_ended: bool = False) -> None:
        self._faults.point()
        await self._inner.stop(uid, keep_ended=keep_ended)
        self._faults.point()
        self._faults.answer()

    def changes(self) -> Any:
        return self._inner.changes()

    async def ping(self) -> None:
        await self._inner.ping()


class FakeEvaluator:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def evaluate(self, *_: object) -> tuple[evaluation_pb2.Evaluation, list[FileRecord]]:
        self._faults.doing = "evaluate"
        return evaluation_pb2.Evaluation(), []


class FakeProfiler:
    async def profile(self, *_: object) -> tuple[list[profile_pb2.Profile], list[FileRecord]]:
        return [], []

    async def list_targets(self) -> list[profile_pb2.Target]:
        return TARGETS


class Gateway:
    """One life of a gateway, over records and a world that outlive it."""

    def __init__(self, world: "World", faults: Faults, shards: ShardLimits = _NO_LIMITS) -> None:
        clock = world.clock
        self.faults = faults
        self.records = Records(world.url, clock.now)
        database = self.records.database
        commit = database._commit

        def killable(jobs: Any) -> None:
            try:
                faults.point()
                commit(jobs)
                faults.point()
                faults.answer()
            except (Killed, Unavailable) as error:
                for job in jobs:
                    job.error = error

        database._commit = killable  # type: ignore[method-assign]  # a fault, not a mock
        store = FaultyStore(world.store, faults)
        tokens = Tokens(KEY)
        retries = RetryLimits(lost_attempts=3)
        self.analysis = Analysis(
            runs=self.records.runs,
            datasets=self.records.datasets,
            evaluator=FakeEvaluator(faults),
            profiler=FakeProfiler(),
            clock=clock,
            limits=AnalysisLimits(),
        )
        launcher = KillableLauncher(world.launcher, faults)
        limits = ReconcilerLimits(orphan_grace=timedelta(seconds=5), shards=shards, retries=retries)
        launching = Launching(
            runs=self.records.runs,
            launches=self.records.launches,
            launcher=launcher,
            tokens=tokens,
            clock=clock,
            limits=limits,
        )
        self.reconciler = Reconciler(
            runs=self.records.runs,
            work=self.records.work,
            launches=self.records.launches,
            batches=self.records.batches,
            launcher=launcher,
            launching=launching,
            analysis=self.analysis,
            clock=clock,
            limits=limits,
        )
        self.runner = Runner(
            runs=self.records.runs,
            datasets=self.records.datasets,
            trainings=self.records.trainings,
            launches=self.records.launches,
            store=store,
            tokens=tokens,
            clock=clock,
            limits=retries,
            crash_of=launching.crash_of,
        )
        self.specs = SpecResolution(
            self.records.datasets,
            self.records.runs,
            Targets(FakeProfiler(), clock),
            NoRows(store),
            ResourceLimits(),
        )
        self.runs = RunRequests(self.records.runs, self.specs, clock)
        self.filling = BatchFilling(
            batches=self.records.batches,
            runs=self.runs,
            specs=self.specs,
            clock=clock,
            max_runs=1000,
        )
        self.housekeeping = Housekeeping(
            keeping=self.records.keeping,
            events=self.records.events,
            runs=self.records.runs,
            store=store,
            clock=clock,
            limits=KeepingLimits(chunk_age=timedelta(seconds=2)),
        )

    async def close(self) -> None:
        """Let go of the database; nothing that was begun is finished."""
        self.faults.dead = True
        await self.analysis.stop()
        self.records.close()


class NoRows(DatasetFiles):
    """Knows nothing of rows: splits are not what is tested."""

    def row_info(self, _dataset: DatasetRecord) -> None:
        return None


class Trainer:
    """A trainer, one small step at a time; lives as long as its shard runs."""

    def __init__(self, world: "World", uid: str, index: int) -> None:
        self.world = world
        self.uid = uid
        self.index = index
        self.token = world.launcher.launches[uid].token
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
            self.assignment = await runner.acquire(runner.launch_of(self.token), self.index)
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
        crash = self.world.crashes.get((assignment.run, assignment.attempt))
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
    """What outlives gateways."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.url = f"sqlite:///{folder / 'records.db'}"
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

    async def step_trainers(self, gateway: Gateway) -> None:
        """Let every living trainer do one thing, in an order of chance."""
        running = {
            (uid, shard.index)
            for uid, shards in self.launcher.shards.items()
            for shard in shards
            if shard.state is ShardState.RUNNING
        }
        for gone in self.trainers.keys() - running:
            del self.trainers[gone]
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
                self.launcher.finish(*place, code)

    def check_held(self) -> None:
        """No two living trainers hold the same run."""
        alive = [t for place, t in self.trainers.items() if place[0] in self.launcher.shards]
        held = [t.holds for t in alive if t.holds is not None]
        assert len(held) == len(set(held)), held
