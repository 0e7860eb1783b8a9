"""A gateway that dies at any numbered point, over a world that lives on."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from linnet.v1 import evaluation_pb2, profile_pb2
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.batches.filling import BatchFilling
from linnet_gateway.batches.steering import BatchRequests
from linnet_gateway.datasets.files import DatasetFiles
from linnet_gateway.launches.fairness import ShardLimits
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
from linnet_gateway.reconciling.analysis import Analysis, AnalysisLimits
from linnet_gateway.reconciling.deadlines import Deadlines
from linnet_gateway.reconciling.housekeeping import Housekeeping, KeepingLimits
from linnet_gateway.reconciling.reconciler import Reconciler
from linnet_gateway.records import DatasetRecord, FileRecord
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_gateway.specs.ceilings import OneCeiling
from linnet_gateway.specs.resolution import ResourceLimits, SpecResolution
from linnet_gateway.sql.store import Records
from linnet_gateway.tail import EventTail
from linnet_gateway.targets import Targets
from linnet_gateway.trainers.runner import Runner
from linnet_gateway.trainers.tokens import Tokens
from linnet_runtime.errors import Unavailable

from tests.fakes.analysts import TARGETS
from tests.fakes.faults import Faults, FaultyStore, Killed

if TYPE_CHECKING:
    from tests.fakes.lasting_world import World

KEY = b"k" * 32
_NO_LIMITS = ShardLimits()


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
        writer = self.records.database._writer
        commit = writer._commit

        def killable(jobs: Any, *done: Any) -> None:
            try:
                faults.point()
                commit(jobs, *done)
                faults.point()
                faults.answer()
            except (Killed, Unavailable) as error:
                writer._let_go()
                for job in jobs:
                    job.error = error

        writer._commit = killable  # type: ignore[method-assign]  # a fault, not a mock
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
        self.launcher = launcher = world.launcher_of(faults)
        limits = ReconcilerLimits(orphan_grace=timedelta(seconds=5), shards=shards, retries=retries)
        last_lines = LastLines(self.records.events, store)
        launching = Launching(
            runs=self.records.runs,
            launches=self.records.launches,
            launcher=launcher,
            tokens=tokens,
            clock=clock,
            limits=limits,
            last_lines=last_lines,
        )
        self.reconciler = Reconciler(
            runs=self.records.runs,
            work=self.records.work,
            launches=self.records.launches,
            batches=self.records.batches,
            launcher=launcher,
            launching=launching,
            analysis=self.analysis,
            deadlines=Deadlines(
                runs=self.records.runs,
                work=self.records.work,
                launches=self.records.launches,
                launching=launching,
                last_lines=last_lines,
                clock=clock,
            ),
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
            ceilings=OneCeiling(),
        )
        self.runs = RunRequests(self.records.runs, self.specs, clock)
        self.filling = BatchFilling(
            batches=self.records.batches,
            runs=self.runs,
            specs=self.specs,
            clock=clock,
            max_runs=1000,
        )
        self.batches = BatchRequests(
            batches=self.records.batches,
            runs=self.runs,
            tail=EventTail(self.records.events, idle_s=lambda: 1.0),
            clock=clock,
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
        await self.launcher.close()
        self.records.close()


class NoRows(DatasetFiles):
    """Knows nothing of rows: splits are not what is tested."""

    def row_info(self, _dataset: DatasetRecord) -> None:
        return None
