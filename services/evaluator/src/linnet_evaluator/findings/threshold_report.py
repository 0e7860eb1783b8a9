"""The threshold part of an evaluation: chosen on one set, reported on others."""

from collections.abc import Mapping

import numpy as np

from linnet_evaluator import to_record
from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import (
    SplitSide,
    ThresholdAnalysis,
    ThresholdCurve,
    ThresholdOutcome,
    Variant,
)
from linnet_evaluator.scores import thresholds
from linnet_evaluator.scores.thresholds import Outcome, Sweep

CURVE_DIGITS = 6
"""Decimals of a curve; so many survive the contract's float32 and come back as they were."""


def outcome_record(found: Outcome, side: SplitSide) -> ThresholdOutcome:
    """Make the record of what thresholds do on a set."""
    return ThresholdOutcome(
        side=side,
        thresholds=found.thresholds,
        confusion=to_record.confusion(found.confusion),
        uncertain_counts=tuple(int(n) for n in found.uncertain),
        certain_share=found.certain_share,
        certain_accuracy=found.certain_accuracy,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
    )


def _curves(swept: Sweep) -> tuple[ThresholdCurve, tuple[ThresholdCurve, ...]]:
    of_classes = np.stack([swept.precision, swept.recall, swept.f1])
    means = np.round([*of_classes.mean(axis=2), swept.certain_share], CURVE_DIGITS).tolist()
    lines = np.round(of_classes.transpose(2, 0, 1), CURVE_DIGITS).tolist()
    return (
        ThresholdCurve(*map(tuple, means)),
        tuple(ThresholdCurve(*map(tuple, curves)) for curves in lines),
    )


def analyse(
    variant: Variant,
    chosen_on: SplitSide,
    basis: ScoredSet,
    reported: Mapping[SplitSide, ScoredSet],
) -> ThresholdAnalysis:
    """Choose thresholds on one set and say what they do on others.

    Args:
        variant: Which variant.
        chosen_on: Side of `basis`; never training or test.
        basis: The scores that the suggestions are chosen on.
        reported: Sets that the outcomes are told for.
    """
    swept = thresholds.sweep(basis.scores, basis.labels)
    suggested, by_class = thresholds.suggest(swept)
    overall, classes = _curves(swept)
    outcomes = [
        outcome_record(thresholds.apply(found.scores, found.labels, limits), side)
        for side, found in reported.items()
        for limits in ((suggested,), by_class)
    ]
    return ThresholdAnalysis(
        variant=variant,
        chosen_on=chosen_on,
        suggested=suggested,
        suggested_by_class=by_class,
        overall=overall,
        classes=classes,
        outcomes=tuple(outcomes),
    )
