"""What to train, as frozen values; each mirrors a message of linnet/v1/spec.proto.

The contract documents every field: units, ranges, defaults.

A spec as it comes may hold None, or a zero that no run can follow, for "the default";
`linnet_ml.defaults.resolve` fills them in.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum

from linnet_ml.augmentation import Augmentation


class InputKind(IntEnum):
    """What features are."""

    UNSPECIFIED = 0
    TABULAR = 1
    SPECTRAL = 2
    TIME_SERIES = 3
    AUDIO = 4
    IMAGE = 5


class ClassBalance(IntEnum):
    """How rare classes are given more say."""

    UNSPECIFIED = 0
    NONE = 1
    WEIGHTS = 2
    OVERSAMPLE = 3


class Optimizer(IntEnum):
    """The optimizer."""

    UNSPECIFIED = 0
    ADAM = 1
    ADAMW = 2
    SGD = 3
    RMSPROP = 4


class ScheduleKind(IntEnum):
    """The shape of a learning-rate schedule."""

    UNSPECIFIED = 0
    CONSTANT = 1
    COSINE = 2
    REDUCE_ON_PLATEAU = 3


class InputScaling(IntEnum):
    """How features are scaled before the model."""

    UNSPECIFIED = 0
    NONE = 1
    STANDARD = 2
    ROBUST = 3


class SplitMethod(IntEnum):
    """The method of a split."""

    UNSPECIFIED = 0
    STRATIFIED = 1
    GROUP = 2
    EXPLICIT = 3
    K_FOLD = 4
    LEAVE_ONE_GROUP_OUT = 5
    MARKED = 6


class LayerKind(IntEnum):
    """What a layer does."""

    UNSPECIFIED = 0
    DENSE = 1
    CONV1D = 2
    CONV2D = 3
    DEPTHWISE_CONV = 4
    SEPARABLE_CONV = 5
    MAX_POOL = 6
    AVERAGE_POOL = 7
    GLOBAL_AVERAGE_POOL = 8
    BATCH_NORMALIZATION = 9
    RESHAPE = 10
    FLATTEN = 11
    DROPOUT = 12
    RESIDUAL_ADD = 13
    ACTIVATION = 14


class Activation(IntEnum):
    """Activation of a layer."""

    UNSPECIFIED = 0
    LINEAR = 1
    RELU = 2
    RELU6 = 3
    TANH = 4
    SIGMOID = 5
    LEAKY_RELU = 6
    HARD_SWISH = 7


class Padding(IntEnum):
    """Edges of a convolution or pool."""

    UNSPECIFIED = 0
    SAME = 1
    VALID = 2


class Pooling(IntEnum):
    """Pool after a convolution."""

    UNSPECIFIED = 0
    NONE = 1
    MAX = 2
    AVERAGE = 3


class TensorIo(IntEnum):
    """Type of an int8 model's input and output."""

    UNSPECIFIED = 0
    INT8 = 1
    FLOAT32 = 2


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate moves over the epochs."""

    kind: ScheduleKind = ScheduleKind.UNSPECIFIED
    warmup_epochs: int = 0
    min_learning_rate: float = 0.0
    factor: float | None = None
    patience_epochs: int | None = None


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stops before the last cycle when the monitored loss has not improved."""

    patience_epochs: int | None = None
    min_delta: float = 0.0


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the weights are fitted."""

    epochs: int = 0
    learning_rate: float = 0.0
    batch_size: int = 0
    seed: int = 0
    class_balance: ClassBalance = ClassBalance.UNSPECIFIED
    optimizer: Optimizer = Optimizer.UNSPECIFIED
    momentum: float = 0.0
    weight_decay: float | None = None
    schedule: Schedule = Schedule()
    label_smoothing: float = 0.0
    early_stopping: EarlyStopping | None = None
    keep_best: bool | None = None
    time_limit: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How rows are divided into training, validation and test."""

    method: SplitMethod = SplitMethod.UNSPECIFIED
    validation_share: float | None = None
    no_validation: bool = False
    test_share: float = 0.0
    test_groups: tuple[str, ...] = ()
    validation_groups: tuple[str, ...] = ()
    validation_rows: tuple[int, ...] = ()
    fold_count: int = 0
    final_fit: bool = False
    extra_epochs: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the visual mode."""

    kind: LayerKind
    enabled: bool | None = None
    units: int = 0
    kernel_size: int = 0
    kernel_width: int = 0
    stride: int = 0
    stack: int = 0
    activation: Activation = Activation.UNSPECIFIED
    padding: Padding = Padding.UNSPECIFIED
    pooling: Pooling = Pooling.UNSPECIFIED
    pool_size: int = 0
    rate: float = 0.0
    columns: int = 0
    channels: int = 0
    depth_multiplier: int = 0
    id: str = ""
    add_from: str = ""
    no_bias: bool = False
    activity_l1: float = 0.0
    kernel_max_norm: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerList:
    """Layers in order, from the input to the last one before the implied output."""

    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class Architecture:
    """The network; at most one of the three is set."""

    preset: str | None = None
    layers: LayerList | None = None
    script: str | None = None


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported."""

    skip_int8: bool = False
    int8_io: TensorIo = TensorIo.UNSPECIFIED
    per_tensor_dense: bool = False
    calibration_rows: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a training pod may use."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    deadline: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits of the application on the device; zero means none."""

    ram_bytes: int = 0
    flash_bytes: int = 0
    latency_us: int = 0


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What to train."""

    dataset: str = ""
    fit: FitSettings = field(default_factory=FitSettings)
    split: SplitSpec = field(default_factory=SplitSpec)
    input_scaling: InputScaling = InputScaling.UNSPECIFIED
    architecture: Architecture = field(default_factory=Architecture)
    augmentation: Augmentation = field(default_factory=Augmentation)
    export: ExportOptions = field(default_factory=ExportOptions)
    resources: Resources = field(default_factory=Resources)
    target: str = ""
    init_from: str = ""
    budgets: Budgets = field(default_factory=Budgets)
