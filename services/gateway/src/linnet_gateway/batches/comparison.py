"""A retrained run against its predecessor: how much better, and how sure that is."""

import math
from dataclasses import dataclass

from linnet.v1 import evaluation_pb2, run_pb2

NOTABLE_CHANGE = 0.005
"""Half a point of accuracy."""
CHANCE = 0.05
"""A difference that chance makes more often than this is none."""

_FIELDS = {
    evaluation_pb2.SPLIT_SIDE_TEST: "test_accuracy",
    evaluation_pb2.SPLIT_SIDE_VALIDATION: "validation_accuracy",
}


@dataclass(frozen=True, slots=True)
class Change:
    """Accuracy of the float32 variant, before and after.

    Attributes:
        side: The rows that it was measured on.
        before: Accuracy of the predecessor, in [0, 1].
        after: Accuracy of the run, in [0, 1].
    """

    side: evaluation_pb2.SplitSide.ValueType
    before: float
    after: float


def change(before: run_pb2.RunSummary, after: run_pb2.RunSummary) -> Change | None:
    """Find what can be compared: test rows where both have some, else validation rows."""
    old, new = _float32(before), _float32(after)
    for side, field in _FIELDS.items():
        if old.HasField(field) and new.HasField(field):  # type: ignore[arg-type]  # one of _FIELDS
            return Change(side, getattr(old, field), getattr(new, field))
    return None


def _float32(summary: run_pb2.RunSummary) -> run_pb2.VariantSummary:
    for known in summary.variants:
        if known.variant == run_pb2.VARIANT_FLOAT32:
            return known
    return run_pb2.VariantSummary()


def two_proportions_p(found: Change, row_count: int) -> float | None:
    """Test two accuracies that were measured on different rows.

    The two-sided z test with a pooled share (Fleiss, Statistical Methods for Rates and
    Proportions, 2.1), taking both to be measured on as many rows.

    Args:
        found: The accuracies.
        row_count: Rows that each was measured on.

    Returns:
        The probability of a difference as large by chance; None without rows.
    """
    if row_count < 1:
        return None
    pooled = (found.before + found.after) / 2
    error = math.sqrt(2 * pooled * (1 - pooled) / row_count)
    if error == 0.0:
        return 1.0 if found.before == found.after else 0.0
    return math.erfc(abs(found.after - found.before) / error / math.sqrt(2))


def comparison(found: Change, p_value: float | None, paired_count: int) -> run_pb2.Comparison:
    """Say what a change means."""
    difference = found.after - found.before
    sure = p_value is None or p_value <= CHANCE
    verdict = run_pb2.COMPARISON_VERDICT_EQUAL
    if abs(difference) >= NOTABLE_CHANGE and sure:
        better = difference > 0
        verdict = run_pb2.COMPARISON_VERDICT_BETTER if better else run_pb2.COMPARISON_VERDICT_WORSE
    return run_pb2.Comparison(
        accuracy_change=difference, verdict=verdict, p_value=p_value, paired_count=paired_count
    )
