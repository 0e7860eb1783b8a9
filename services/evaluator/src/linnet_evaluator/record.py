"""The evaluation as frozen values; each mirrors a message of linnet/v1/evaluation.proto.

The contract documents every field.
"""

from dataclasses import dataclass
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
    OUT_OF_FOLD = 4


class FeatureSource(IntEnum):
    """What is projected."""

    UNSPECIFIED = 0
    INPUT = 1
    EMBEDDING = 2


class ProjectionMethod(IntEnum):
    """How it is projected."""

    UNSPECIFIED = 0
    PCA = 1
    UMAP = 2
    TSNE = 3


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
class FoldScores:
    """Scores of one fold's model on the fold's own rows."""

    fold: int
    sample_count: int
    accuracy: float
    loss: float
    balanced_accuracy: float
    mcc: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and spread of a score over folds."""

    mean: float
    standard_deviation: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The folds of a k-fold run."""

    folds: tuple[FoldScores, ...]
    summary: dict[str, Spread]


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Scores at the thresholds 0.00, 0.01 ... 1.00."""

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    certain_share: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ThresholdOutcome:
    """What thresholds do on one set."""

    side: SplitSide
    thresholds: tuple[float, ...]
    confusion: ConfusionMatrix
    uncertain_counts: tuple[int, ...]
    certain_share: float
    certain_accuracy: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class ThresholdAnalysis:
    """What a threshold on the top score does."""

    variant: Variant
    chosen_on: SplitSide
    suggested: float
    suggested_by_class: tuple[float, ...]
    overall: ThresholdCurve
    classes: tuple[ThresholdCurve, ...]
    outcomes: tuple[ThresholdOutcome, ...]


@dataclass(frozen=True, slots=True)
class HardSample:
    """A row that the model finds hard."""

    row: int
    sample_id: str
    actual: int
    predicted: int
    actual_score: float
    predicted_score: float
    group: str


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Two classes that the model confuses."""

    actual: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class LabelSuspect:
    """A row whose label is likely wrong."""

    row: int
    sample_id: str
    given: int
    suggested: int
    given_score: float
    suggested_score: float


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Accuracy of a group."""

    group: str
    sample_count: int
    accuracy: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, slots=True)
class FailureAnalysis:
    """Where a variant fails on one set."""

    variant: Variant
    side: SplitSide
    hardest: tuple[HardSample, ...]
    confused_pairs: tuple[ConfusedPair, ...]
    label_suspects: tuple[LabelSuspect, ...]
    groups: tuple[GroupScores, ...]
    worst_group: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the exported files of a run are."""

    classes: tuple[str, ...]
    sets: tuple[SetEvaluation, ...]
    comparison: VariantComparison | None = None
    dataset_digest: str = ""
    fingerprint: str = ""
    cross_validation: CrossValidation | None = None
    thresholds: tuple[ThresholdAnalysis, ...] = ()
    failures: tuple[FailureAnalysis, ...] = ()
