"""Edge Impulse's settings object."""

import json
import math

import pytest
from linnet_ml.defaults import resolve
from linnet_ml.edge_impulse import read_settings
from linnet_ml.layers import infer
from linnet_ml.spec import ClassBalance, InputKind, LayerKind, SplitMethod
from linnet_runtime.errors import InvalidInput

AUDIO = {
    "mode": "visual",
    "trainingCycles": 100,
    "learningRate": 0.005,
    "batchSize": 32,
    "trainTestSplit": 0.2,
    "autoClassWeights": True,
    "visualLayers": [
        {"type": "reshape", "columns": 13},
        {"type": "conv1d", "neurons": 8, "kernelSize": 3, "stack": 1},
        {"type": "dropout", "dropoutRate": 0.25},
        {"type": "conv1d", "neurons": 16, "kernelSize": 3, "stack": 1, "enabled": False},
        {"type": "flatten"},
    ],
    "augmentationPolicySpectrogram": {
        "enabled": True,
        "warping": True,
        "freqMasking": "high",
        "timeMasking": "low",
        "gaussianNoise": "low",
    },
}


def test_settings_of_the_product_become_a_spec():
    """Cycles, rate, split, class weights, layers and augmentation are all taken over."""
    spec, notes = read_settings(AUDIO)
    assert notes == ()
    assert (spec.fit.epochs, spec.fit.learning_rate, spec.fit.batch_size) == (100, 0.005, 32)
    assert spec.fit.class_balance is ClassBalance.WEIGHTS
    assert spec.split.validation_share == 0.2
    layers = spec.architecture.layers
    assert [layer.kind for layer in layers.layers][:2] == [LayerKind.RESHAPE, LayerKind.CONV1D]
    assert layers.layers[3].enabled is False
    assert infer(layers, (650,), 4)[-1].input_shape == (25 * 8,)
    audio = spec.augmentation.spectrogram
    assert (audio.noise, audio.time_mask_count, audio.frequency_mask_bands) == (0.2, 1, 4)
    assert audio.warp_frames == 6
    resolved = resolve(
        spec, input_kind=InputKind.AUDIO, input_shape=(650,), class_count=4, has_groups=False
    )
    assert resolved.augmentation.spectrogram == audio


def test_reshape_before_a_2d_convolution_gets_its_channel():
    """The product's 2-D path reshapes to (frames, columns, 1)."""
    spec, _ = read_settings(
        {
            "visualLayers": [
                {"type": "reshape", "columns": 13},
                {"type": "conv2d", "neurons": 8, "kernelSize": 3},
            ],
            "kFoldsValidationConfig": {
                "numFolds": 4,
                "includeFinalTrainingRun": True,
                "extraEpochs": 7,
            },
        }
    )
    assert spec.architecture.layers.layers[0].channels == 1
    assert (spec.split.method, spec.split.fold_count) == (SplitMethod.K_FOLD, 4)
    assert spec.split.final_fit
    assert spec.split.extra_epochs == 7


def test_unknown_layers_are_refused_by_name():
    """A transfer-learning layer is named with its place in the list."""
    with pytest.raises(InvalidInput, match=r"visualLayers\[0\].type"):
        read_settings({"visualLayers": [{"type": "transfer_mobilenetv2_a35"}]})


WRONG = {
    "trainingCycles": [math.inf, math.nan, -3, 2.7, 1e20, "30", True],
    "learningRate": [-0.1, "fast", math.nan],
    "batchSize": [32.5, [], -1],
    "trainTestSplit": [-0.2, "0.2"],
    "autoClassWeights": ["false", 1],
    "mode": ["simple", 3, ["visual"]],
    "visualLayers": [{}, "dense", 3],
    "visualLayers[0]": [["dense"], [None]],
    "visualLayers[0].type": [[{"type": ["dense"]}], [{"type": {}}], [{}], [{"type": "lstm"}]],
    "visualLayers[0].neurons": [[{"type": "dense", "neurons": value}] for value in ("20", 1.5, -1)],
    "visualLayers[0].enabled": [[{"type": "flatten", "enabled": "no"}]],
    "visualLayers[0].dropoutRate": [[{"type": "dropout", "dropoutRate": math.nan}]],
    "kFoldsValidationConfig": [True, 5, []],
    "kFoldsValidationConfig.numFolds": [{"numFolds": "5"}, {"numFolds": 2.5}],
    "augmentationPolicySpectrogram": ["none", True],
    "augmentationPolicySpectrogram.freqMasking": [{"freqMasking": ["low"]}, {"freqMasking": "x"}],
    "augmentationPolicyImage": ["some", ["all"]],
}


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, values in WRONG.items() for v in values]
)
def test_values_of_a_wrong_type_are_refused_by_their_path(field, value):
    """Whatever JSON can hold, infinities included, is read or refused by the field's own name."""
    name = field.split(".", maxsplit=1)[0].removesuffix("[0]")
    with pytest.raises(InvalidInput) as found:
        read_settings(json.loads(json.dumps({name: value})))
    assert [violation.field for violation in found.value.violations] == [field]


def test_masks_follow_the_columns_that_layers_reshape_to():
    """High masks cover three tenths of the columns: 12 of 40, as the product's scripts do."""
    settings = AUDIO | {"visualLayers": [{"type": "reshape", "columns": 40}]}
    spec, _ = read_settings(settings)
    assert spec.augmentation.spectrogram.frequency_mask_bands == 12


def test_no_share_and_images_are_taken_over():
    """A share of zero is no validation set, not the default; the image policy has its changes."""
    spec, notes = read_settings({"trainTestSplit": 0, "augmentationPolicyImage": "all"})
    assert spec.split.no_validation
    assert spec.augmentation.image.flip_horizontal
    assert spec.augmentation.image.brightness == 0.2
    assert notes == ()
    left_out = read_settings({})[0].split
    assert (left_out.no_validation, left_out.validation_share) == (False, None)


def test_what_is_not_taken_over_is_told():
    """Each setting without a counterpart has its sentence; what says nothing has none."""
    settings = {
        "useLearnedOptimizer": True,
        "minimumConfidenceRating": 0.6,
        "trainingProcessor": "gpu",
        "profileInt8": False,
        "kFoldsValidationConfig": {"numFolds": 3, "extraEpochs": 2},
        "customParameters": {"a": "b"},
        "organizationModelId": None,
        "lastShownModelVariant": "int8",
    }
    _, notes = read_settings(settings)
    assert {note.split(":")[0] for note in notes} == {
        "useLearnedOptimizer",
        "minimumConfidenceRating",
        "trainingProcessor",
        "profileInt8",
        "kFoldsValidationConfig.extraEpochs",
        "customParameters",
    }


def test_layers_beside_an_expert_script_are_taken_and_told():
    """The script itself has another shape; what it was written from becomes the network."""
    visual, _ = read_settings(AUDIO)
    spec, notes = read_settings(AUDIO | {"mode": "expert", "script": "model = Sequential()"})
    assert spec.architecture == visual.architecture
    (note,) = notes
    assert note.startswith("script: left out. The network is that of visualLayers")


@pytest.mark.parametrize("layers", [{}, {"visualLayers": []}, {"visualLayers": [{"type": "odd"}]}])
def test_an_expert_script_without_layers_leaves_the_network_to_the_preset(layers):
    """Without layers that can be read, the note says what to write instead."""
    spec, notes = read_settings({"mode": "expert", "script": "model = Sequential()"} | layers)
    assert spec.architecture.layers is None
    assert notes[-1].startswith("script: left out. An expert script of Edge Impulse has another")
    odd = bool(layers.get("visualLayers"))
    assert [note.partition(":")[0] for note in notes] == ["visualLayers"] * odd + ["script"]
