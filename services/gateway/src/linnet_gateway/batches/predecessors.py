"""Retrained runs against the runs that they retrain."""

from collections.abc import Sequence
from typing import Protocol

from linnet.v1 import evaluation_pb2, evaluator_service_pb2, run_pb2
from linnet_runtime import logs
from linnet_runtime.errors import DeadlineExceeded, LinnetError, NotFound, Unavailable
from linnet_runtime.ids import parse_name

from linnet_gateway.batches.comparison import Change, change, comparison, two_proportions_p
from linnet_gateway.converters import file_message
from linnet_gateway.ports import Runs
from linnet_gateway.records import FileRecord, RunRecord

_SCORES = "scores.npz"


class ScoreComparer(Protocol):
    """What compares stored scores row by row: the evaluator."""

    async def compare_scores(
        self, request: evaluator_service_pb2.CompareScoresRequest, timeout_s: float
    ) -> evaluator_service_pb2.CompareScoresResponse:
        """Compare two runs; raises `Unavailable`, `DeadlineExceeded` or another LinnetError."""
        ...


class Predecessors:
    """Compares runs with their predecessors."""

    def __init__(self, runs: Runs, evaluator: ScoreComparer) -> None:
        self._runs = runs
        self._evaluator = evaluator
        self._log = logs.get("linnet.predecessors")

    async def compare(
        self,
        run: RunRecord,
        evaluation: evaluation_pb2.Evaluation,
        files: Sequence[FileRecord],
        timeout_s: float,
    ) -> run_pb2.Comparison | None:
        """Compare a run that was just evaluated; None without a predecessor that was.

        Args:
            run: The run.
            evaluation: Its evaluation.
            files: What the evaluator stored of it.
            timeout_s: Deadline of the call.

        Raises:
            Unavailable: The evaluator can't be reached.
            DeadlineExceeded: It took too long.
        """
        before = await self._predecessor(run)
        if before is None:
            return None
        summary = run_pb2.RunSummary()
        fill_scores(evaluation, summary)
        found = change(run_pb2.RunSummary.FromString(before.summary), summary)
        if found is None:
            return None
        old, new = _scores(before.artifacts), _scores(files)
        if old is not None and new is not None:
            request = evaluator_service_pb2.CompareScoresRequest(
                first=file_message(old),
                second=file_message(new),
                first_variant=run_pb2.VARIANT_FLOAT32,
                second_variant=run_pb2.VARIANT_FLOAT32,
                side=found.side,
            )
            try:
                paired = await self._evaluator.compare_scores(request, timeout_s)
                return comparison(found, paired.p_value, paired.sample_count)
            except (Unavailable, DeadlineExceeded):
                raise
            except LinnetError as error:
                self._log.info("scores_not_paired", run=run.name, why=error.message)
        rows = _row_count(evaluation, found)
        return comparison(found, two_proportions_p(found, rows), 0)

    async def _predecessor(self, run: RunRecord) -> RunRecord | None:
        if not run.predecessor:
            return None
        name = parse_name(run.predecessor, "runs", field="predecessor")
        try:
            return await self._runs.get(name.project, name.id)
        except NotFound:
            return None


def _scores(files: Sequence[FileRecord]) -> FileRecord | None:
    return next((file for file in files if file.name == _SCORES), None)


def _row_count(evaluation: evaluation_pb2.Evaluation, found: Change) -> int:
    for scored in evaluation.sets:
        if scored.side == found.side and scored.variant == run_pb2.VARIANT_FLOAT32:
            return scored.sample_count
    return 0


def variant_of(
    summary: run_pb2.RunSummary, variant: run_pb2.Variant.ValueType
) -> run_pb2.VariantSummary:
    """Give the figures of a variant, new ones if it has none."""
    for known in summary.variants:
        if known.variant == variant:
            return known
    return summary.variants.add(variant=variant)


def fill_scores(evaluation: evaluation_pb2.Evaluation, summary: run_pb2.RunSummary) -> None:
    """Note accuracies and losses of every variant."""
    for scored in evaluation.sets:
        into = variant_of(summary, scored.variant)
        if scored.side == evaluation_pb2.SPLIT_SIDE_VALIDATION:
            into.validation_accuracy = scored.scores.accuracy
            into.validation_loss = scored.scores.loss
        elif scored.side == evaluation_pb2.SPLIT_SIDE_TEST:
            into.test_accuracy = scored.scores.accuracy
