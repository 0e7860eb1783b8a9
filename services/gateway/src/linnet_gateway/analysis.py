"""Evaluation and profiling of trained runs: side by side, bounded, tried again, never for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from linnet.v1 import evaluation_pb2, profile_pb2, run_pb2, spec_pb2
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import DeadlineExceeded, LinnetError, NotFound, Unavailable
from linnet_runtime.ids import parse_name

from linnet_gateway import transitions
from linnet_gateway.converters import fill_device_figures
from linnet_gateway.ports import Datasets, Runs
from linnet_gateway.records import DatasetRecord, FileRecord, RunRecord
from linnet_gateway.states import Failure, FailureReason, RunState, StageKind

_NOTABLE_CHANGE = 0.005
"""Half a point of accuracy."""
_BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)

MODEL_FILES = {
    "model.float32.tflite": run_pb2.VARIANT_FLOAT32,
    "model.int8.tflite": run_pb2.VARIANT_INT8,
}


class Evaluator(Protocol):
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
        self._clock = clock
        self._limits = limits
        self._slots = {
            StageKind.EVALUATE: asyncio.Semaphore(limits.at_once),
            StageKind.PROFILE: asyncio.Semaphore(limits.at_once),
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = logs.get("linnet.analysis")

    def take(self, run: RunRecord) -> None:
        """Analyze a run unless that is under way."""
        if run.uid not in self._tasks:
            task = asyncio.create_task(self._analyze(run))
            self._tasks[run.uid] = task
            task.add_done_callback(lambda _: self._tasks.pop(run.uid, None))

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
        try:
            await asyncio.gather(
                self._stage(run, StageKind.EVALUATE, self._evaluate),
                self._stage(run, StageKind.PROFILE, self._profile),
            )
        except NotFound:
            return  # deleted meanwhile
        except LinnetError as error:
            self._log.warning("analysis_interrupted", run=run.name, error=error.message)

    async def _stage(
        self,
        run: RunRecord,
        kind: StageKind,
        call: Callable[[RunRecord], Awaitable[None]],
    ) -> None:
        if run.stage(kind).state.ended:
            return
        async with self._slots[kind]:
            begun = partial(transitions.stage_begun, kind=kind, now=self._clock.now())
            run = await self._runs.change(run.uid, begun)
            failure = await self._try(run, kind, call)
        if failure is not None:
            await self._end(run, kind, failure)

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
        dataset = await self._datasets.get(run.project, run.dataset)
        evaluation, files = await self._evaluator.evaluate(
            run, dataset, self._limits.call_timeout_s
        )
        await self._end(run, StageKind.EVALUATE, None, partial(_scored, evaluation), files)

    async def _profile(self, run: RunRecord) -> None:
        spec = spec_pb2.TrainingSpec.FromString(run.spec)
        profiles, files = await self._profiler.profile(run, spec, self._limits.call_timeout_s)
        await self._end(run, StageKind.PROFILE, None, partial(_profiled, profiles), files)

    async def _end(
        self,
        run: RunRecord,
        kind: StageKind,
        failure: Failure | None,
        fill: Callable[[run_pb2.RunSummary], None] | None = None,
        files: Sequence[FileRecord] = (),
    ) -> None:
        now = self._clock.now()
        before = await self._predecessor(run)

        def decide(current: RunRecord) -> RunRecord:
            summary = run_pb2.RunSummary.FromString(current.summary)
            if fill is not None:
                fill(summary)
            ended = transitions.stage_ended(
                current, kind, failure, now, summary=summary.SerializeToString(), files=files
            )
            if before is None or ended.state is not RunState.SUCCEEDED:
                return ended
            return replace(ended, comparison=compare(summary, before))

        await self._runs.change(run.uid, decide)

    async def _predecessor(self, run: RunRecord) -> run_pb2.RunSummary | None:
        if not run.predecessor:
            return None
        name = parse_name(run.predecessor, "runs", field="predecessor")
        try:
            found = await self._runs.get(name.project, name.id)
        except NotFound:
            return None
        return run_pb2.RunSummary.FromString(found.summary)


def _begun(run: RunRecord) -> datetime | None:
    return run.stage(StageKind.TRAIN).end_time


def _variant(
    summary: run_pb2.RunSummary, variant: run_pb2.Variant.ValueType
) -> run_pb2.VariantSummary:
    for known in summary.variants:
        if known.variant == variant:
            return known
    return summary.variants.add(variant=variant)


def compare(summary: run_pb2.RunSummary, before: run_pb2.RunSummary) -> bytes:
    """Compare a retrained run with its predecessor; gives a serialized Comparison or nothing."""
    new, old = (_variant(s, run_pb2.VARIANT_FLOAT32) for s in (summary, before))
    for field in ("test_accuracy", "validation_accuracy"):
        if new.HasField(field) and old.HasField(field):
            change = getattr(new, field) - getattr(old, field)
            verdict = run_pb2.COMPARISON_VERDICT_EQUAL
            if abs(change) >= _NOTABLE_CHANGE:
                better = change > 0
                verdict = (
                    run_pb2.COMPARISON_VERDICT_BETTER
                    if better
                    else run_pb2.COMPARISON_VERDICT_WORSE
                )
            return run_pb2.Comparison(accuracy_change=change, verdict=verdict).SerializeToString()
    return b""


def _scored(evaluation: evaluation_pb2.Evaluation, summary: run_pb2.RunSummary) -> None:
    for scored in evaluation.sets:
        into = _variant(summary, scored.variant)
        if scored.side == evaluation_pb2.SPLIT_SIDE_VALIDATION:
            into.validation_accuracy = scored.scores.accuracy
            into.validation_loss = scored.scores.loss
        elif scored.side == evaluation_pb2.SPLIT_SIDE_TEST:
            into.test_accuracy = scored.scores.accuracy


def _profiled(profiles: Sequence[profile_pb2.Profile], summary: run_pb2.RunSummary) -> None:
    for profile in profiles:
        fill_device_figures(_variant(summary, profile.variant), profile)
