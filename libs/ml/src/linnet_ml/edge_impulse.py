"""Edge Impulse's settings object of a Keras block, read into a spec.

Names and meanings are those of the settings that its studio sends: `visualLayers`,
`trainingCycles`, `learningRate`, `batchSize`, `trainTestSplit`, `autoClassWeights`,
`kFoldsValidationConfig`, `augmentationPolicySpectrogram` and the like.
"""

from collections.abc import Mapping
from typing import Any

from linnet_runtime.errors import InvalidInput

from linnet_ml.augmentation import Augmentation, ImageAugmentation, SpectrogramAugmentation
from linnet_ml.edge_impulse_layers import first_columns, read_layers
from linnet_ml.settings_object import SettingsObject
from linnet_ml.spec import (
    Architecture,
    ClassBalance,
    FitSettings,
    LayerList,
    SplitMethod,
    SplitSpec,
    TrainingSpec,
)

_LEVELS = ("none", "low", "high")
_NOISE = {"none": 0.0, "low": 0.2, "high": 0.45}
_TIME_MASK = {"none": (0, 0), "low": (1, 1), "high": (3, 2)}
_FREQUENCY_MASK_COUNT = {"none": 0, "low": 1, "high": 3}
_FREQUENCY_MASK_SHARE = {"none": 0.0, "low": 0.15, "high": 0.3}
"""Of the columns; for low half of what its scripts show for high (4 of 13, 12 of 40)."""
_MFCC_COLUMNS = 13
_WARP_FRAMES = 6
_IMAGE = ImageAugmentation(flip_horizontal=True, shift=0.1, zoom=0.2, brightness=0.2)
"""A flip, a zoom of up to 1.2 that is cropped at random, brightness by 0.2."""

_SCRIPT_NEEDED = (
    "An expert script of Edge Impulse has another shape; define "
    "build_model(input_shape, num_classes) with its layers."
)
_SCRIPT_LEFT = (
    "The network is that of visualLayers, which the script may have changed: compare them, and put "
    "what differs into build_model(input_shape, num_classes)."
)
_NO_COUNTERPARTS = {
    "useLearnedOptimizer": "there is no learned optimizer; Adam is used.",
    "akidaEdgeLearningConfig": "there is no Akida edge learning.",
    "customValidationMetadataKey": "give the dataset this key's values as its groups.",
    "minimumConfidenceRating": "thresholds are chosen on the report, not before.",
    "thresholds": "thresholds are chosen on the report, not before.",
}
_TAKEN = {
    "mode", "trainingCycles", "learningRate", "batchSize", "trainTestSplit", "autoClassWeights",
    "kFoldsValidationConfig", "visualLayers", "augmentationPolicySpectrogram",
    "augmentationPolicyImage", "trainingProcessor", "profileInt8",
}  # fmt: skip
_OF_THE_PAGE = {
    "script", "name", "type", "trained", "dependencies", "shortDimensions", "defaultBatchSize",
    "showAdvancedTrainingSettings", "showAugmentationTrainingSettings", "lastShownModelVariant",
    "lastShownModelEngine", "selectedModelType", "availableModelTypes", "recommendedModelType",
}  # fmt: skip
"""What its page remembers, and the script that it makes of the layers."""


def read_settings(settings: Mapping[str, Any]) -> tuple[TrainingSpec, tuple[str, ...]]:
    """Read a settings object.

    Args:
        settings: The JSON object, as its API gives it.

    Returns:
        The spec, defaults not filled in, and a sentence for each setting that has no counterpart.

    Raises:
        InvalidInput: A value has a wrong type, or a layer can't be told apart; names the field.
    """
    given = SettingsObject(settings)
    notes: list[str] = []
    fit = FitSettings(
        epochs=given.whole("trainingCycles"),
        learning_rate=given.number("learningRate") or 0.0,
        batch_size=given.whole("batchSize"),
        class_balance=ClassBalance.WEIGHTS
        if given.flag("autoClassWeights")
        else ClassBalance.UNSPECIFIED,
    )
    left = (name for name in given.given() if name not in _TAKEN | _OF_THE_PAGE)
    notes += [f"{name}: {_NO_COUNTERPARTS.get(name, 'has no counterpart here.')}" for name in left]
    if given.choice("trainingProcessor", ("cpu", "gpu")) == "gpu":
        notes.append("trainingProcessor: networks of this size train on the CPU.")
    if not given.flag("profileInt8", default=True):
        notes.append("profileInt8: the int8 model is profiled all the same.")
    spec = TrainingSpec(
        fit=fit,
        split=_split(given, notes),
        architecture=_architecture(given, notes),
        augmentation=_augmentation(given),
    )
    return spec, tuple(notes)


def _split(given: SettingsObject, notes: list[str]) -> SplitSpec:
    folds = given.inner("kFoldsValidationConfig")
    if folds is not None:
        extra, final = folds.whole("extraEpochs"), folds.flag("includeFinalTrainingRun")
        if extra and not final:
            notes.append(f"{folds.path('extraEpochs')}: there is no final training run.")
        return SplitSpec(
            method=SplitMethod.K_FOLD,
            fold_count=folds.whole("numFolds"),
            final_fit=final,
            extra_epochs=extra if final else 0,
        )
    share = given.number("trainTestSplit")
    # None at all is told by a field of its own, which every release reads.
    return SplitSpec(validation_share=share or None, no_validation=share == 0)


def _architecture(given: SettingsObject, notes: list[str]) -> Architecture:
    listed = given.listed("visualLayers")
    if given.choice("mode", ("visual", "expert")) == "expert":
        return _beside_script(listed or [], notes)
    return Architecture() if listed is None else Architecture(layers=read_layers(listed))


def _beside_script(listed: list[SettingsObject], notes: list[str]) -> Architecture:
    """Take the layers that a script once was written from, if they can be read."""
    try:
        layers = read_layers(listed)
    except InvalidInput as error:
        notes.append(f"visualLayers: left out with the script: {error.message}")
        layers = LayerList()
    notes.append(f"script: left out. {_SCRIPT_LEFT if layers.layers else _SCRIPT_NEEDED}")
    return Architecture(layers=layers) if layers.layers else Architecture()


def _augmentation(given: SettingsObject) -> Augmentation:
    image = given.choice("augmentationPolicyImage", ("none", "all")) == "all"
    return Augmentation(spectrogram=_spectrogram(given), image=_IMAGE if image else None)


def _spectrogram(given: SettingsObject) -> SpectrogramAugmentation | None:
    policy = given.inner("augmentationPolicySpectrogram")
    if policy is None or not policy.flag("enabled", default=True):
        return None
    count, frames = _TIME_MASK[policy.choice("timeMasking", _LEVELS)]
    frequency = policy.choice("freqMasking", _LEVELS)
    columns = first_columns(given.listed("visualLayers") or []) or _MFCC_COLUMNS
    found = SpectrogramAugmentation(
        time_mask_count=count,
        time_mask_frames=frames,
        frequency_mask_count=_FREQUENCY_MASK_COUNT[frequency],
        frequency_mask_bands=round(_FREQUENCY_MASK_SHARE[frequency] * columns),
        noise=_NOISE[policy.choice("gaussianNoise", _LEVELS)],
        warp_frames=_WARP_FRAMES if policy.flag("warping") else 0,
    )
    return None if found == SpectrogramAugmentation() else found
