"""Where a variant fails on one set: rows, pairs of classes, labels, groups."""

import numpy as np
from linnet_ml.samples import Samples
from numpy.typing import NDArray

from linnet_evaluator.findings.group_scores import score_groups
from linnet_evaluator.findings.row_groups import Groups
from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import (
    ConfusedPair,
    FailureAnalysis,
    GroupScores,
    HardSample,
    LabelSuspect,
    SplitSide,
    Variant,
)
from linnet_evaluator.scores.label_errors import suspects
from linnet_evaluator.scores.probabilities import normalise

MAX_SAMPLES = 50
MAX_PAIRS = 20
_UNSEEN = {SplitSide.VALIDATION, SplitSide.OUT_OF_FOLD}


def _text(values: NDArray[np.str_] | None, row: int) -> str:
    return "" if values is None else str(values[row])


def _hardest(found: ScoredSet, samples: Samples, groups: Groups | None) -> tuple[HardSample, ...]:
    everyone = np.arange(len(found.rows))
    own = found.scores[everyone, found.labels]
    top = found.scores[everyone, found.predicted]
    # Among equal scores of the actual class the surer mistake is the harder row.
    order = np.lexsort((-top, own))[:MAX_SAMPLES]
    rows = found.rows[order].tolist()
    return tuple(
        HardSample(
            row=row,
            sample_id=_text(samples.sample_id, row),
            actual=actual,
            predicted=predicted,
            actual_score=actual_score,
            predicted_score=predicted_score,
            group="" if groups is None else groups.name(row),
        )
        for row, actual, predicted, actual_score, predicted_score in zip(
            rows,
            found.labels[order].tolist(),
            found.predicted[order].tolist(),
            own[order].tolist(),
            top[order].tolist(),
            strict=True,
        )
    )


def _pairs(matrix: NDArray[np.int64]) -> tuple[ConfusedPair, ...]:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    support = matrix.sum(axis=1)
    pairs = []
    for actual, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count = int(wrong[actual, predicted])
        if count:
            share = count / int(support[actual])
            pairs.append(ConfusedPair(int(actual), int(predicted), count, share))
    return tuple(pairs)


def _label_suspects(found: ScoredSet, samples: Samples) -> tuple[LabelSuspect, ...]:
    shares = normalise(found.scores)
    positions, suggested = suspects(shares, found.labels, MAX_SAMPLES)
    given = found.labels[positions]
    return tuple(
        LabelSuspect(
            row=row,
            sample_id=_text(samples.sample_id, row),
            given=label,
            suggested=better,
            given_score=own,
            suggested_score=other,
        )
        for row, label, better, own, other in zip(
            found.rows[positions].tolist(),
            given.tolist(),
            suggested.tolist(),
            shares[positions, given].tolist(),
            shares[positions, suggested].tolist(),
            strict=True,
        )
    )


def analyse(
    found: ScoredSet,
    matrix: NDArray[np.int64],
    samples: Samples,
    groups: Groups | None,
    *,
    variant: Variant,
    side: SplitSide,
) -> FailureAnalysis:
    """Say where a variant fails on a set.

    Labels are only doubted on rows that the model did not train on.
    """
    by_group: tuple[GroupScores, ...] = ()
    worst = ""
    if groups is not None:
        by_group, worst = score_groups(found.predicted == found.labels, groups, found.rows)
    return FailureAnalysis(
        variant=variant,
        side=side,
        hardest=_hardest(found, samples, groups),
        confused_pairs=_pairs(matrix),
        label_suspects=_label_suspects(found, samples) if side in _UNSEEN else (),
        groups=by_group,
        worst_group=worst,
    )
