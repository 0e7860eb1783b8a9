"""float32 against int8 on the same rows, and which to deploy."""

import numpy as np
from numpy.typing import NDArray

from linnet_evaluator.record import Interval, SplitSide, Variant, VariantComparison
from linnet_evaluator.scores.mcnemar import paired_interval

MAX_FLIPPED_ROWS = 1000
TOLERATED_DROP = 0.02
"""Share of accuracy that int8 may cost: the size and speed it gives are worth two points."""
NEEDLESS_DROP = 0.10
"""Above this quantization has broken the model, and training with it in mind is due."""


def _recommend(drop: float, low: float, high: float) -> tuple[Variant, str]:
    ends = f"{drop * 100:.1f} points (95 % interval {low * 100:.1f} to {high * 100:.1f})"
    if drop <= TOLERATED_DROP:
        sure = "" if high <= TOLERATED_DROP else "; more rows would make this surer"
        return Variant.INT8, f"int8 costs {ends} of accuracy, at most 2 are tolerated{sure}"
    if drop <= NEEDLESS_DROP and low <= TOLERATED_DROP:
        return Variant.FLOAT32, (
            f"int8 costs {ends} of accuracy, more than the 2 tolerated; use float32 where it fits"
        )
    if drop <= NEEDLESS_DROP:
        return Variant.FLOAT32, (
            f"int8 surely costs {ends} of accuracy, more than the 2 tolerated; use float32 where "
            "it fits, or train with quantization in mind"
        )
    return Variant.UNSPECIFIED, (
        f"int8 costs {ends} of accuracy: quantization breaks this model; it needs "
        "quantization-aware work, beginning with the scaling of its input"
    )


def compare(
    labels: NDArray[np.int64],
    float_predicted: NDArray[np.int64],
    int_predicted: NDArray[np.int64],
    *,
    rows: NDArray[np.int64],
    side: SplitSide,
    groups: NDArray[np.int64] | None = None,
) -> VariantComparison:
    """Compare the variants' predictions row by row.

    Args:
        labels: Actual classes, shape (rows,).
        float_predicted: Predictions of float32, shape (rows,).
        int_predicted: Predictions of int8, shape (rows,).
        rows: Row index in the dataset of each, shape (rows,).
        side: Which set they are.
        groups: Group of each row, numbered from 0, or None.
    """
    float_right, int_right = float_predicted == labels, int_predicted == labels
    flipped = float_predicted != int_predicted
    drop = float(float_right.mean() - int_right.mean())
    low, high = paired_interval(int_right, float_right, groups)
    recommended, reason = _recommend(drop, low, high)
    return VariantComparison(
        side=side,
        agreement=1.0 - float(flipped.mean()),
        accuracy_drop=drop,
        accuracy_drop_interval=Interval(low, high),
        flipped_rows=tuple(int(r) for r in rows[flipped][:MAX_FLIPPED_ROWS]),
        recommended=recommended,
        reason=reason,
    )
