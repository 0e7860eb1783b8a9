"""Edge Impulse's settings object of a Keras block, read into a spec.

Names and meanings are those of its public API model `KerasVisualLayer` and of the settings that its
studio sends: `visualLayers`, `trainingCycles`, `learningRate`, `batchSize`, `trainTestSplit`,
`autoClassWeights`, `kFoldsValidationConfig`, `augmentationPolicySpectrogram` and the like.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from linnet_runtime.errors import InvalidInput, Violation

from linnet_ml.spec import (
    Architecture,
    Augmentation,
    ClassBalance,
    FitSettings,
    Layer,
    LayerKind,
    LayerList,
    SpectrogramAugmentation,
    SplitMethod,
    SplitSpec,
    TrainingSpec,
)

_NOISE = {"none": 0.0, "low": 0.2, "high": 0.45}
_TIME_MASK = {"none": (0, 0), "low": (1, 1), "high": (3, 2)}
_FREQUENCY_MASK_COUNT = {"none": 0, "low": 1, "high": 3}
_FREQUENCY_MASK_BANDS = {"none": 0, "low": 2, "high": 4}
_WARP_FRAMES = 6
_L1 = 1e-5
_MAX_NORM = 1.0


def read_settings(settings: Mapping[str, Any]) -> tuple[TrainingSpec, tuple[str, ...]]:
    """Read a settings object.

    Args:
        settings: The JSON object, as its API gives it.

    Returns:
        The spec, defaults not filled in, and a sentence for each setting that has no counterpart.

    Raises:
        InvalidInput: A value has a wrong type, or a layer can't be told apart; names the field.
    """
    notes: list[str] = []
    fit = FitSettings(
        epochs=int(_number(settings, "trainingCycles")),
        learning_rate=_number(settings, "learningRate"),
        batch_size=int(_number(settings, "batchSize")),
        class_balance=ClassBalance.WEIGHTS
        if settings.get("autoClassWeights")
        else ClassBalance.UNSPECIFIED,
    )
    for name, words in (
        ("useLearnedOptimizer", "the learned optimizer (Adam is used)"),
        ("akidaEdgeLearningConfig", "Akida edge learning"),
        ("customValidationMetadataKey", "a metadata key of the split (groups of the dataset are)"),
    ):
        if settings.get(name):
            notes.append(f"{name}: there is no {words}.")
    policy = settings.get("augmentationPolicyImage")
    if policy not in {None, "none"}:
        notes.append("augmentationPolicyImage: set the image augmentation by hand.")
    spec = TrainingSpec(
        fit=fit,
        split=_split(settings),
        architecture=_architecture(settings, notes),
        augmentation=_augmentation(settings.get("augmentationPolicySpectrogram")),
    )
    return spec, tuple(notes)


def _number(settings: Mapping[str, Any], name: str) -> float:
    value = settings.get(name)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput.of(name, f"expected a number, received {value!r}")
    return float(value)


def _split(settings: Mapping[str, Any]) -> SplitSpec:
    folds = settings.get("kFoldsValidationConfig")
    if isinstance(folds, Mapping):
        return SplitSpec(
            method=SplitMethod.K_FOLD,
            fold_count=int(_number(folds, "numFolds")),
            final_fit=bool(folds.get("includeFinalTrainingRun")),
        )
    return SplitSpec(validation_share=_number(settings, "trainTestSplit"))


def _architecture(settings: Mapping[str, Any], notes: list[str]) -> Architecture:
    if settings.get("mode") == "expert":
        notes.append(
            "script: an expert script of Edge Impulse has another shape; define "
            "build_model(input_shape, num_classes) with its layers."
        )
        return Architecture()
    listed = settings.get("visualLayers")
    if listed is None:
        return Architecture()
    if not isinstance(listed, list):
        raise InvalidInput.of("visualLayers", f"expected a list, received {listed!r}")
    layers: list[Layer] = []
    violations: list[Violation] = []
    for index, entry in enumerate(listed):
        path = f"visualLayers[{index}]"
        try:
            layers.append(_layer(entry, path, _follows_two_axes(listed[index + 1 :])))
        except InvalidInput as error:
            violations += error.violations
    if violations:
        raise InvalidInput(violations)
    return Architecture(layers=LayerList(tuple(layers)))


def _follows_two_axes(later: list[Any]) -> bool:
    """Say whether the next convolution is two-dimensional: a reshape before it has channels."""
    for entry in later:
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        if kind in {"conv1d", "conv2d"}:
            return bool(kind == "conv2d")
    return False


def _layer(entry: Any, path: str, grid: bool) -> Layer:
    if not isinstance(entry, Mapping):
        raise InvalidInput.of(path, f"expected an object, received {entry!r}")
    kind = entry.get("type")
    enabled = None if entry.get("enabled", True) else False
    units = int(_number(entry, "neurons"))
    kernel = int(_number(entry, "kernelSize"))
    stack = int(_number(entry, "stack"))
    columns = int(_number(entry, "columns"))
    known = {
        "dense": Layer(LayerKind.DENSE, units=units, activity_l1=_L1),
        "conv1d": Layer(LayerKind.CONV1D, units=units, kernel_size=kernel, stack=stack),
        "conv2d": Layer(
            LayerKind.CONV2D,
            units=units,
            kernel_size=kernel,
            stack=stack,
            kernel_max_norm=_MAX_NORM,
        ),
        "reshape": Layer(LayerKind.RESHAPE, columns=columns, channels=1 if grid else 0),
        "flatten": Layer(LayerKind.FLATTEN),
        "dropout": Layer(LayerKind.DROPOUT, rate=_number(entry, "dropoutRate")),
        "batchNormalization": Layer(LayerKind.BATCH_NORMALIZATION),
    }
    if kind in known:
        return replace(known[str(kind)], enabled=enabled)
    raise InvalidInput(
        [
            Violation(
                f"{path}.type",
                "expected dense, conv1d, conv2d, reshape, flatten, dropout or "
                f"batchNormalization, received {kind!r}",
            )
        ]
    )


def _augmentation(policy: Any) -> Augmentation:
    if not isinstance(policy, Mapping) or not policy.get("enabled", True):
        return Augmentation()

    def level(name: str) -> str:
        value = policy.get(name) or "none"
        if value not in _NOISE:
            raise InvalidInput.of(
                f"augmentationPolicySpectrogram.{name}",
                f"expected none, low or high, received {value!r}",
            )
        return str(value)

    count, frames = _TIME_MASK[level("timeMasking")]
    frequency = level("freqMasking")
    return Augmentation(
        spectrogram=SpectrogramAugmentation(
            time_mask_count=count,
            time_mask_frames=frames,
            frequency_mask_count=_FREQUENCY_MASK_COUNT[frequency],
            frequency_mask_bands=_FREQUENCY_MASK_BANDS[frequency],
            noise=_NOISE[level("gaussianNoise")],
            warp_frames=_WARP_FRAMES if policy.get("warping") else 0,
        )
    )
