"""EvaluatorService over grpc.aio: convert, call the use case, convert."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet.v1 import dataset_pb2, evaluation_pb2, evaluator_service_pb2_grpc
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_ml import wire
from linnet_runtime.errors import InvalidInput
from linnet_runtime.objectstore import ObjectStore

from linnet_evaluator.evaluate import EvaluationInput, Evaluator
from linnet_evaluator.exploring.explorer import Explorer, ExplorerInput, Points
from linnet_evaluator.exploring.pages import page_of
from linnet_evaluator.findings.threshold_report import outcome_record
from linnet_evaluator.record import FeatureSource, ProjectionMethod, SplitSide, Variant
from linnet_evaluator.scores import mcnemar, thresholds
from linnet_evaluator.scores.mcnemar import PairedComparison
from linnet_evaluator.serving.messages import to_message, to_plain
from linnet_evaluator.serving.recent import Recent
from linnet_evaluator.serving.workplace import Workplace
from linnet_evaluator.stored.data import FileRef
from linnet_evaluator.stored.results import Results
from linnet_evaluator.stored.scores_file import StoredScores

_KEPT_EVALUATIONS = 256
_KEPT_SCORES = 16
_KEPT_EXPLORERS = 8
_FILE_THREADS = 64
"""As many as requests may be worked on at once; they are started when needed."""


@dataclass(frozen=True, slots=True)
class _Answer:
    evaluation: evaluation_pb2.Evaluation
    result: FileRef | None
    scores: FileRef | None


class EvaluatorServicer(evaluator_service_pb2_grpc.EvaluatorServiceServicer):
    """Answers from memory or the store where it can.

    Args:
        evaluator: Scores runs.
        explorer: Projects runs.
        store: Where results are.
        work: Where work is done.
    """

    def __init__(
        self, evaluator: Evaluator, explorer: Explorer, store: ObjectStore, work: Workplace
    ) -> None:
        self._evaluator = evaluator
        self._explorer = explorer
        self._work = work
        self._evaluations: Recent[_Answer] = Recent(_KEPT_EVALUATIONS)
        self._scores: Recent[StoredScores] = Recent(_KEPT_SCORES)
        self._points: Recent[Points] = Recent(_KEPT_EXPLORERS)
        self._results = Results(store, self._scores.put)
        self._files = ThreadPoolExecutor(_FILE_THREADS, "files")

    async def Evaluate(  # noqa: N802 (name of the contract)
        self, request: pb.EvaluateRequest, _context: Any
    ) -> pb.EvaluateResponse:
        """Score the variants of a run on its stored split."""
        wanted = _evaluation_input(request)
        result_key, scores_key = request.result_key, request.scores_key
        key = f"{wanted.fingerprint()};{result_key};{scores_key}"
        answer = self._evaluations.get(key)
        if answer is not None and await asyncio.to_thread(
            self._results.all_exist, result_key, scores_key
        ):
            self._work.metrics.answers.labels("evaluate", "memory").inc()
        else:
            answer = await self._work.once(
                "evaluate",
                key,
                lambda: self._answer(wanted, request.result_key, request.scores_key),
            )
            self._evaluations.put(key, answer)
        return pb.EvaluateResponse(
            evaluation=answer.evaluation,
            variants=dict.fromkeys(found.variant for found in answer.evaluation.sets),
            result=_stored(answer.result),
            scores=_stored(answer.scores),
        )

    def _answer(self, wanted: EvaluationInput, result_key: str, scores_key: str) -> _Answer:
        # Reads do not wait to hear that the store has no answer; only after a restart it has one.
        loading = self._files.submit(self._evaluator.load, wanted)
        found = self._results.find(result_key, scores_key, wanted.fingerprint())
        if found is not None:
            self._work.metrics.answers.labels("evaluate", "store").inc()
            scores = self._results.describe(scores_key) if scores_key else None
            return _Answer(found, self._results.describe(result_key), scores)
        scored = self._evaluator.score(loading.result())
        writing = self._files.submit(self._results.write_scores, scores_key, scored.stored)
        plain = to_plain(scored.evaluation())
        # The result last: where it is, the scores are too.
        scores = writing.result()
        storing = self._files.submit(self._results.write, result_key, plain)
        return _Answer(to_message(plain), storing.result(), scores)

    async def ApplyThresholds(  # noqa: N802 (name of the contract)
        self, request: pb.ApplyThresholdsRequest, _context: Any
    ) -> pb.ApplyThresholdsResponse:
        """Apply thresholds to stored scores; no model runs."""
        stored = await self._stored_scores(request.scores)
        side = SplitSide(request.side)
        found = stored.on(Variant(request.variant), side)
        outcome = await asyncio.to_thread(
            thresholds.apply, found.scores, found.labels, tuple(request.thresholds)
        )
        record = outcome_record(outcome, side)
        return pb.ApplyThresholdsResponse(
            outcome=wire.to_message(record, evaluation_pb2.ThresholdOutcome)
        )

    async def CompareScores(  # noqa: N802 (name of the contract)
        self, request: pb.CompareScoresRequest, _context: Any
    ) -> pb.CompareScoresResponse:
        """Compare two runs on the rows that both scored."""
        first = await self._stored_scores(request.first)
        second = await self._stored_scores(request.second)
        side = SplitSide(request.side)
        variants = Variant(request.first_variant), Variant(request.second_variant)
        found = await asyncio.to_thread(_compare, first, second, variants, side)
        return wire.to_message(found, pb.CompareScoresResponse)

    async def Explore(  # noqa: N802 (name of the contract)
        self, request: pb.ExploreRequest, _context: Any
    ) -> pb.ExploreResponse:
        """Project features or embeddings to two axes."""
        wanted = ExplorerInput(
            of=EvaluationInput(
                run=request.run,
                run_files=_files(request.run_files),
                dataset_files=_files(request.dataset_files),
                classes=tuple(request.classes),
                dataset_digest=request.dataset_digest,
            ),
            source=FeatureSource(request.source),
            method=ProjectionMethod(request.method),
            variant=Variant(request.variant),
            cache_prefix=request.cache_prefix,
        ).resolved()
        key = wanted.fingerprint()
        points = self._points.get(key)
        if points is not None:
            self._work.metrics.answers.labels("explore", "memory").inc()
        else:
            points = await self._work.once("explore", key, lambda: self._explorer.explore(wanted))
            self._points.put(key, points)
        return page_of(points, wanted, key, request.page_size, request.page_token)

    async def _stored_scores(self, file: dataset_pb2.StoredFile) -> StoredScores:
        ref = FileRef(file.name, file.key, file.size_bytes, file.sha256)
        held = self._scores.get(ref.sha256) if ref.sha256 else None
        if held is not None:
            self._work.metrics.answers.labels("scores", "memory").inc()
            return held
        scores = await self._work.once(
            "scores", ref.sha256 or ref.key, lambda: self._results.read_scores(ref)
        )
        if ref.sha256:
            self._scores.put(ref.sha256, scores)
        return scores


def _compare(
    first: StoredScores, second: StoredScores, variants: tuple[Variant, Variant], side: SplitSide
) -> PairedComparison:
    if first.dataset_digest != second.dataset_digest:
        raise InvalidInput.of(
            "second",
            "expected scores of the same dataset as the first's, received another's",
            reason="DATASETS_DIFFER",
        )
    one, other = first.on(variants[0], side), second.on(variants[1], side)
    shared, at_one, at_other = np.intersect1d(one.rows, other.rows, return_indices=True)
    if not shared.size:
        raise InvalidInput.of("second", "expected rows that both scored, received none")
    groups = None
    if first.groups is not None and side is not SplitSide.OUT_OF_FOLD:
        on_side = first.groups[first.sides == side][at_one]
        groups = np.unique(on_side, return_inverse=True)[1].astype(np.int64)
    return mcnemar.compare(
        (one.predicted == one.labels)[at_one], (other.predicted == other.labels)[at_other], groups
    )


def _evaluation_input(request: pb.EvaluateRequest) -> EvaluationInput:
    return EvaluationInput(
        run=request.run,
        run_files=_files(request.run_files),
        dataset_files=_files(request.dataset_files),
        classes=tuple(request.classes),
        dataset_digest=request.dataset_digest,
        sides=tuple(SplitSide(side) for side in request.sides),
        all_rows_as_test=request.all_rows_as_test,
    )


def _files(files: Iterable[dataset_pb2.StoredFile]) -> tuple[FileRef, ...]:
    return tuple(FileRef(f.name, f.key, f.size_bytes, f.sha256) for f in files)


def _stored(ref: FileRef | None) -> dataset_pb2.StoredFile | None:
    if ref is None:
        return None
    return dataset_pb2.StoredFile(
        name=ref.name, key=ref.key, size_bytes=ref.size_bytes, sha256=ref.sha256
    )
