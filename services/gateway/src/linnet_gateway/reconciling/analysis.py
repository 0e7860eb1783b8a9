"""Evaluation and profiling of trained runs: side by side, bounded, tried again, never for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from linnet.v1 import (
    evaluation_pb2,
    profile_pb2,
    run_pb2,
    spec_pb2,
)
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import DeadlineExceeded, LinnetError, NotFound, Unavailable

from linnet_gateway import transitions
from linnet_gateway.batches.predecessors import Predecessors, ScoreComparer, fill_scores, variant_of
from linnet_gateway.converters import fill_device_figures
from linnet_gateway.datasets.of_run import dataset_of
from linnet_gateway.ports import Datasets, Runs
from linnet_gateway.records import DatasetRecord, FileRecord, RunRecord, altered
from linnet_gateway.states import Failure, FailureReason, RunState, StageKind

_NO_MODELS = "no .tflite was exported: there is nothing to evaluate and profile"
_TOLD_AFTER_S = 0.5
_TAKEN_A_SLOT = 16
_STALE = timedelta(seconds=1)
"""A run that waited longer for its slot is read again: it may be cancelled, or deleted."""
_BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)

MODEL_FILES = {
    "model.float32.tflite": run_pb2.VARIANT_FLOAT32,
    "model.int8.tflite": run_pb2.VARIANT_INT8,
}


class Evaluator(ScoreComparer, Protocol):
    """What scores the models of a run."""

    async def evaluate(
        self, run: RunRecord, dataset: DatasetRecord, timeout_s: float
    ) -> tuple[evaluation_pb2.Evaluation, Sequence[FileRecord]]:
        """Score every variant; raises `Unavailable`, `DeadlineExceeded` or another LinnetError."""
        ...


class Profiler(Protocol):
    """What says what the models of a run need on targets."""

    async def profile(
        self, run: RunRecord, spec: spec_pb2.TrainingSpec, timeout_s: float
    ) -> tuple[Sequence[profile_pb2.Profile], Sequence[FileRecord]]:
        """Profile every variant on the spec's target; raises as `Evaluator.evaluate`."""
        ...


@dataclass(frozen=True, slots=True)
class AnalysisLimits:
    """How long analysis may take and how much of it runs at once.

    Attributes:
        at_once: Runs that are evaluated at once, and as many that are profiled.
        call_timeout_s: Deadline of one call.
        total_s: How long a stage is tried, from the end of training on.
    """

    at_once: int = 4
    call_timeout_s: float = 300.0
    total_s: float = 1800.0


class Analysis:
    """Analyzes runs; give it every run that is ANALYZING, again and again."""

    def __init__(
        self,
        *,
        runs: Runs,
        datasets: Datasets,
        evaluator: Evaluator,
        profiler: Profiler,
        clock: Clock,
        limits: AnalysisLimits,
    ) -> None:
        self._runs = runs
        self._datasets = datasets
        self._evaluator = evaluator
        self._profiler = profiler
        self._predecessors = Predecessors(runs, evaluator)
        self._clock = clock
        self._limits = limits
        self._slots = {
            StageKind.EVALUATE: asyncio.Semaphore(limits.at_once),
            StageKind.PROFILE: asyncio.Semaphore(limits.at_once),
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: dict[tuple[str, StageKind], datetime] = {}
        self._log = logs.get("linnet.analysis")

    def take(self, run: RunRecord) -> None:
        """Analyze a run unless that is under way."""
        if run.uid not in self._tasks:
            task = asyncio.create_task(self._analyze(run))
            self._tasks[run.uid] = task
            task.add_done_callback(lambda _: self._tasks.pop(run.uid, None))

    @property
    def room(self) -> int:
        """How many runs more are worth giving: enough to keep every slot busy."""
        return max(_TAKEN_A_SLOT * self._limits.at_once - len(self._tasks), 0)

    @property
    def active(self) -> frozenset[str]:
        """Uids of runs that are being analyzed."""
        return frozenset(self._tasks)

    async def stop(self) -> None:
        """Give everything up; it is taken up again from the records."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _analyze(self, run: RunRecord) -> None:
        # Both are over when this returns: a run that is taken again has no stage under way.
        outcomes = await asyncio.gather(
            self._stage(run, StageKind.EVALUATE, self._evaluate),
            self._stage(run, StageKind.PROFILE, self._profile),
            return_exceptions=True,
        )
        for error in outcomes:
            if isinstance(error, NotFound):
                continue  # deleted meanwhile
            if isinstance(error, LinnetError):
                self._log.warning("analysis_interrupted", run=run.name, error=error.message)
            elif error is not None:
                raise error

    async def _stage(
        self,
        run: RunRecord,
        kind: StageKind,
        call: Callable[[RunRecord], Awaitable[None]],
    ) -> None:
        if run.stage(kind).state.ended:
            return
        if not any(file.name in MODEL_FILES for file in run.artifacts):
            left_out = partial(
                transitions.stage_left_out, kind=kind, why=_NO_MODELS, now=self._clock.now()
            )
            await self._runs.change(run.uid, left_out)
            return
        asked = self._clock.now()
        async with self._slots[kind]:
            now = self._clock.now()
            if now - asked > _STALE:
                run = await self._runs.get_uid(run.uid)
            self._begun[run.uid, kind] = now
            telling = asyncio.create_task(self._tell_begun(run.uid, kind))
            try:
                failure = await self._try(run, kind, call)
                if failure is not None:
                    await self._end(run, kind, failure)
            finally:
                telling.cancel()
                del self._begun[run.uid, kind]

    async def _tell_begun(self, uid: str, kind: StageKind) -> None:
        # Most stages are over sooner: those write when they began together with how they ended.
        await asyncio.sleep(_TOLD_AFTER_S)
        now = self._begun[uid, kind]
        with suppress(LinnetError):
            await self._runs.change(uid, partial(transitions.stage_begun, kind=kind, now=now))

    async def _try(
        self, run: RunRecord, kind: StageKind, call: Callable[[RunRecord], Awaitable[None]]
    ) -> Failure | None:
        reason = (
            FailureReason.EVALUATION_FAILED
            if kind is StageKind.EVALUATE
            else FailureReason.PROFILE_FAILED
        )
        ends = (_begun(run) or self._clock.now()).timestamp() + self._limits.total_s
        tries = 0
        while True:
            if run.state is not RunState.ANALYZING:
                return None
            try:
                await call(run)
            except (Unavailable, DeadlineExceeded) as error:
                pause = _BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)]
                tries += 1
                if self._clock.now().timestamp() + pause > ends:
                    return Failure(reason, f"{error.message} (tried {tries} times)")
                await self._clock.sleep(pause)
                run = await self._runs.get_uid(run.uid)
            except LinnetError as error:
                return Failure(reason, error.message)
            else:
                return None

    async def _evaluate(self, run: RunRecord) -> None:
        dataset = await dataset_of(run, self._datasets, self._runs)
        evaluation, files = await self._evaluator.evaluate(
            run, dataset, self._limits.call_timeout_s
        )
        found = await self._predecessors.compare(
            run, evaluation, files, self._limits.call_timeout_s
        )
        fill = partial(fill_scores, evaluation)
        await self._end(run, StageKind.EVALUATE, None, fill=fill, files=files, found=found)

    async def _profile(self, run: RunRecord) -> None:
        spec = spec_pb2.TrainingSpec.FromString(run.spec)
        profiles, files = await self._profiler.profile(run, spec, self._limits.call_timeout_s)
        fill = partial(_profiled, profiles)
        await self._end(run, StageKind.PROFILE, None, fill=fill, files=files)

    async def _end(
        self,
        run: RunRecord,
        kind: StageKind,
        failure: Failure | None,
        *,
        fill: Callable[[run_pb2.RunSummary], None] | None = None,
        files: Sequence[FileRecord] = (),
        found: run_pb2.Comparison | None = None,
    ) -> None:
        now = self._clock.now()
        begun = self._begun[run.uid, kind]

        def decide(current: RunRecord) -> RunRecord:
            current = transitions.stage_begun(current, kind, begun)
            summary = run_pb2.RunSummary.FromString(current.summary)
            if fill is not None:
                fill(summary)
            ended = transitions.stage_ended(
                current, kind, failure, now, summary=summary.SerializeToString(), files=files
            )
            if found is None or ended is current:
                return ended
            return altered(ended, comparison=found.SerializeToString())

        await self._runs.change(run.uid, decide)


def _begun(run: RunRecord) -> datetime | None:
    return run.stage(StageKind.TRAIN).end_time


def _profiled(profiles: Sequence[profile_pb2.Profile], summary: run_pb2.RunSummary) -> None:
    for profile in profiles:
        fill_device_figures(variant_of(summary, profile.variant), profile)
