"""The evaluation as frozen values; each mirrors a message of linnet/v1/evaluation.proto.

The contract documents every field.
"""

from dataclasses import dataclass, field
from enum import IntEnum


class Variant(IntEnum):
    """An exported form of the model."""

    UNSPECIFIED = 0
    FLOAT32 = 1
    INT8 = 2


class SplitSide(IntEnum):
    """Which rows."""

    UNSPECIFIED = 0
    TRAINING = 1
    VALIDATION = 2
    TEST = 3


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AveragedScores:
    """Scores averaged over classes."""

    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores over all rows of a set."""

    accuracy: float
    loss: float
    balanced_accuracy: float
    mcc: float
    macro: AveragedScores
    weighted: AveragedScores
    brier: float
    ece: float
    zero_score_count: int
    intervals: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one class."""

    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class ConfusionRow:
    """One row of a confusion matrix."""

    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts, rows = actual class, columns = predicted class."""

    rows: tuple[ConfusionRow, ...]


@dataclass(frozen=True, slots=True)
class SetEvaluation:
    """Scores of one variant's file on one set of rows."""

    variant: Variant
    side: SplitSide
    sample_count: int
    scores: Scores
    confusion: ConfusionMatrix
    class_scores: tuple[ClassScores, ...]
    model_sha256: str


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """int8 against float32 on the same rows."""

    side: SplitSide
    agreement: float
    accuracy_drop: float
    accuracy_drop_interval: Interval
    flipped_rows: tuple[int, ...]
    recommended: Variant
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the exported files of a run are."""

    classes: tuple[str, ...]
    sets: tuple[SetEvaluation, ...]
    comparison: VariantComparison | None = None
    dataset_digest: str = ""
    fingerprint: str = field(default="")
