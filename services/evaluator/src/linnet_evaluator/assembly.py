"""From the scores of a run to its evaluation; knows no store and no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from linnet_ml.samples import Samples
from numpy.typing import NDArray

from linnet_evaluator import to_record
from linnet_evaluator.findings import comparison, cross_validation, failures, threshold_report
from linnet_evaluator.findings.row_groups import Groups
from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import (
    CrossValidation,
    Evaluation,
    FailureAnalysis,
    SplitSide,
    ThresholdAnalysis,
    Variant,
    VariantComparison,
)
from linnet_evaluator.scores.scoring import Scoring, score_all
from linnet_evaluator.stored.run_files import OutOfFold

Key = tuple[Variant, SplitSide]


@dataclass(frozen=True, slots=True)
class RunScores:
    """Everything that was scored of a run.

    Attributes:
        sets: Scores by variant and side.
        model_sha256: Digest of each variant's file.
        samples: What is known of the dataset's rows.
        groups: Which of the dataset's rows are alike.
        labels: Actual class of every row of the dataset.
        out_of_fold: Scores of the folds' models, for a k-fold run.
    """

    sets: Mapping[Key, ScoredSet]
    model_sha256: Mapping[Variant, str]
    samples: Samples
    groups: Groups | None
    labels: NDArray[np.int64]
    out_of_fold: OutOfFold | None = None


def assemble(
    run: RunScores, classes: Sequence[str], dataset_digest: str, fingerprint: str
) -> Evaluation:
    """Compute every score and analysis of a run.

    Raises:
        InvalidInput: Scores are not finite or negative; names the rows.
    """
    sets = dict(run.sets)
    folds: CrossValidation | None = None
    if run.out_of_fold is not None:
        folds = cross_validation.aggregate(run.out_of_fold, run.labels)
        rows = run.out_of_fold.rows
        pooled = ScoredSet.of(rows, run.labels[rows], run.out_of_fold.scores)
        sets[Variant.FLOAT32, SplitSide.OUT_OF_FOLD] = pooled
    scorings = {key: _score(found, run.groups) for key, found in sets.items()}
    return Evaluation(
        classes=tuple(classes),
        sets=tuple(
            to_record.set_evaluation(
                scoring,
                variant,
                side,
                "" if side is SplitSide.OUT_OF_FOLD else run.model_sha256[variant],
            )
            for (variant, side), scoring in scorings.items()
        ),
        comparison=_compare(sets, run.groups),
        dataset_digest=dataset_digest,
        fingerprint=fingerprint,
        cross_validation=folds,
        thresholds=tuple(_thresholds(sets)),
        failures=tuple(_failures(sets, scorings, run)),
    )


def _score(found: ScoredSet, groups: Groups | None) -> Scoring:
    alike = None if groups is None else groups.numbers[found.rows]
    return score_all(found.scores, found.labels, alike, rows=found.rows)


def _compare(sets: Mapping[Key, ScoredSet], groups: Groups | None) -> VariantComparison | None:
    """Compare on the set that nothing was chosen by, else on validation."""
    for side in (SplitSide.TEST, SplitSide.VALIDATION, SplitSide.TRAINING):
        pair = [sets.get((variant, side)) for variant in (Variant.FLOAT32, Variant.INT8)]
        if pair[0] is not None and pair[1] is not None:
            rows = pair[0].rows
            return comparison.compare(
                pair[0].labels,
                pair[0].predicted,
                pair[1].predicted,
                rows=rows,
                side=side,
                groups=None if groups is None else groups.on(rows),
            )
    return None


def _basis(sets: Mapping[Key, ScoredSet], variant: Variant) -> tuple[SplitSide, ScoredSet] | None:
    """Find scores that thresholds may be chosen on: validation, else out-of-fold."""
    found = sets.get((variant, SplitSide.VALIDATION))
    if found is not None:
        return SplitSide.VALIDATION, found
    pooled = sets.get((Variant.FLOAT32, SplitSide.OUT_OF_FOLD))
    return None if pooled is None else (SplitSide.OUT_OF_FOLD, pooled)


def _thresholds(sets: Mapping[Key, ScoredSet]) -> list[ThresholdAnalysis]:
    found = []
    for variant in (Variant.FLOAT32, Variant.INT8):
        basis = _basis(sets, variant)
        if basis is None or not any(v is variant for v, _ in sets):
            continue
        reported = {basis[0]: basis[1]}
        if (variant, SplitSide.TEST) in sets:
            reported[SplitSide.TEST] = sets[variant, SplitSide.TEST]
        found.append(threshold_report.analyse(variant, basis[0], basis[1], reported))
    return found


def _failures(
    sets: Mapping[Key, ScoredSet], scorings: Mapping[Key, Scoring], run: RunScores
) -> list[FailureAnalysis]:
    return [
        failures.analyse(
            found,
            scorings[variant, side].confusion,
            run.samples,
            run.groups,
            variant=variant,
            side=side,
        )
        for (variant, side), found in sets.items()
        if side is not SplitSide.TRAINING
    ]
