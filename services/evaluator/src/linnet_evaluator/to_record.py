"""From scores to the record."""

import math

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator import record
from linnet_evaluator.scores.scoring import Averages, Scoring


def _averages(averages: Averages) -> record.AveragedScores:
    return record.AveragedScores(
        precision=averages.precision,
        recall=averages.recall,
        f1=averages.f1,
        roc_auc=averages.roc_auc,
        average_precision=averages.average_precision,
    )


def confusion(matrix: NDArray[np.int64]) -> record.ConfusionMatrix:
    """Make the record of a matrix, rows = actual class."""
    return record.ConfusionMatrix(
        tuple(record.ConfusionRow(tuple(row)) for row in matrix.astype(int).tolist())
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def class_scores(scoring: Scoring) -> tuple[record.ClassScores, ...]:
    """Make the record of each class."""
    of, ranking = scoring.classes, scoring.ranking
    return tuple(
        record.ClassScores(
            precision=float(of.precision[c]),
            recall=float(of.recall[c]),
            f1=float(of.f1[c]),
            support=int(of.support[c]),
            roc_auc=_defined(float(ranking.roc_auc[c])),
            average_precision=_defined(float(ranking.average_precision[c])),
        )
        for c in range(len(of.support))
    )


def scores(scoring: Scoring) -> record.Scores:
    """Make the record of the scores over all rows."""
    return record.Scores(
        accuracy=scoring.accuracy,
        loss=scoring.trust.loss,
        balanced_accuracy=scoring.balanced_accuracy,
        mcc=scoring.mcc,
        macro=_averages(scoring.macro),
        weighted=_averages(scoring.weighted),
        brier=scoring.trust.brier,
        ece=scoring.trust.ece,
        zero_score_count=scoring.trust.zero_score_count,
        intervals={k: record.Interval(*ends) for k, ends in scoring.intervals.items()},
    )


def set_evaluation(
    scoring: Scoring, variant: record.Variant, side: record.SplitSide, model_sha256: str
) -> record.SetEvaluation:
    """Make the record of one variant on one set."""
    return record.SetEvaluation(
        variant=variant,
        side=side,
        sample_count=len(scoring.predicted),
        scores=scores(scoring),
        confusion=confusion(scoring.confusion),
        class_scores=class_scores(scoring),
        model_sha256=model_sha256,
    )
