"""Edge Impulse's settings object."""

import pytest
from linnet_ml.edge_impulse import read_settings
from linnet_ml.layers import infer
from linnet_ml.spec import ClassBalance, LayerKind, SplitMethod
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


def test_reshape_before_a_2d_convolution_gets_its_channel():
    """The product's 2-D path reshapes to (frames, columns, 1)."""
    spec, _ = read_settings(
        {
            "visualLayers": [
                {"type": "reshape", "columns": 13},
                {"type": "conv2d", "neurons": 8, "kernelSize": 3},
            ],
            "kFoldsValidationConfig": {"numFolds": 4, "includeFinalTrainingRun": True},
        }
    )
    assert spec.architecture.layers.layers[0].channels == 1
    assert (spec.split.method, spec.split.fold_count) == (SplitMethod.K_FOLD, 4)
    assert spec.split.final_fit


def test_unknown_layers_are_refused_by_name():
    """A transfer-learning layer is named with its place in the list."""
    with pytest.raises(InvalidInput, match=r"visualLayers\[0\].type"):
        read_settings({"visualLayers": [{"type": "transfer_mobilenetv2_a35"}]})
