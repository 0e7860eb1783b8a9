"""Defaults, presets and scaling."""

from dataclasses import replace

import numpy as np
import pytest
from linnet.v1 import spec_pb2
from linnet_ml import layers, presets
from linnet_ml.augmentation import Augmentation, SpectrogramAugmentation
from linnet_ml.defaults import layers_of, resolve
from linnet_ml.scaling import Scaler, fit_scaler
from linnet_ml.spec import (
    Architecture,
    EarlyStopping,
    FitSettings,
    InputKind,
    InputScaling,
    Layer,
    LayerKind,
    LayerList,
    Optimizer,
    Schedule,
    ScheduleKind,
    SplitMethod,
    SplitSpec,
    TrainingSpec,
)
from linnet_ml.wire import from_message, to_message
from linnet_runtime.errors import InvalidInput

SHAPES = {
    InputKind.TABULAR: (13,),
    InputKind.SPECTRAL: (33,),
    InputKind.TIME_SERIES: (100, 6),
    InputKind.AUDIO: (50, 13),
    InputKind.IMAGE: (32, 32, 3),
}


def resolved(spec, kind=InputKind.SPECTRAL, *, has_groups=False, has_validation=False):
    return resolve(
        spec,
        input_kind=kind,
        input_shape=SHAPES[kind],
        class_count=7,
        has_groups=has_groups,
        has_validation=has_validation,
    )


def test_empty_spec_takes_the_documented_defaults():
    """Motion features give dense 20-10, 30 cycles, rate 0.0005, batch 32, a fifth to validation."""
    spec = resolved(TrainingSpec())
    assert (spec.fit.epochs, spec.fit.learning_rate, spec.fit.batch_size) == (30, 0.0005, 32)
    assert spec.fit.optimizer is Optimizer.ADAM
    assert spec.fit.keep_best is True
    assert spec.split.method is SplitMethod.STRATIFIED
    assert spec.split.validation_share == 0.2
    assert spec.input_scaling is InputScaling.STANDARD
    assert spec.architecture.preset == "dense"
    assert spec.target == "cortex-m4f-80mhz"
    assert resolved(TrainingSpec(), has_groups=True).split.method is SplitMethod.GROUP


def test_seed_zero_is_a_seed_of_its_own():
    """A sweep over 0, 1 and 2 trains three runs; a spec without a seed has that of 0."""
    given = (TrainingSpec(fit=FitSettings(seed=seed)) for seed in (0, 1, 2))
    message = spec_pb2.TrainingSpec()
    unset = resolved(from_message(TrainingSpec, message)).fit.seed
    assert [resolved(spec).fit.seed for spec in given] == [unset, 1, 2]


ZERO = TrainingSpec(
    fit=FitSettings(
        optimizer=Optimizer.ADAMW,
        weight_decay=0.0,
        schedule=Schedule(ScheduleKind.REDUCE_ON_PLATEAU, factor=0.0, patience_epochs=0),
        early_stopping=EarlyStopping(patience_epochs=0),
    ),
    split=SplitSpec(method=SplitMethod.GROUP, validation_share=0.0),
)
LEFT_OUT = replace(
    ZERO,
    fit=FitSettings(
        optimizer=Optimizer.ADAMW,
        schedule=Schedule(ScheduleKind.REDUCE_ON_PLATEAU),
        early_stopping=EarlyStopping(),
    ),
    split=SplitSpec(method=SplitMethod.GROUP),
)


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [(ZERO, (0, 0, 0, 0, None, True)), (LEFT_OUT, (0.004, 0.5, 5, 10, 0.2, False))],
)
def test_an_explicit_zero_is_a_choice(spec, numbers):
    """Zero and nothing differ, on the wire too; a share of zero is no validation set."""
    message = to_message(spec, spec_pb2.TrainingSpec)
    assert from_message(TrainingSpec, message) == spec
    found = resolved(from_message(TrainingSpec, message), has_groups=True)
    fit, split = found.fit, found.split
    assert (
        fit.weight_decay,
        fit.schedule.factor,
        fit.schedule.patience_epochs,
        fit.early_stopping.patience_epochs,
        split.validation_share,
        split.no_validation,
    ) == numbers
    assert resolved(found, has_groups=True) == found


@pytest.mark.parametrize(
    ("split", "method"),
    [
        (SplitSpec(), SplitMethod.MARKED),
        (SplitSpec(test_share=0.2), SplitMethod.MARKED),
        (SplitSpec(validation_share=0.2), SplitMethod.GROUP),
        (SplitSpec(validation_share=0.0), SplitMethod.GROUP),
        (SplitSpec(no_validation=True), SplitMethod.GROUP),
        (SplitSpec(validation_rows=(3,)), SplitMethod.EXPLICIT),
        (SplitSpec(method=SplitMethod.STRATIFIED), SplitMethod.STRATIFIED),
        (SplitSpec(method=SplitMethod.K_FOLD), SplitMethod.K_FOLD),
    ],
)
def test_rows_marked_for_validation_are_taken_unless_the_spec_names_a_split(split, method):
    """A split of the spec wins; resolved again, it is the same."""
    found = resolved(TrainingSpec(split=split), has_groups=True, has_validation=True)
    assert found.split.method is method
    assert resolved(found, has_groups=True, has_validation=True) == found


def test_settings_of_another_choice_are_left_open():
    """A stored spec that gets another optimizer, schedule or split takes that one's defaults."""
    adam = resolved(TrainingSpec(split=SplitSpec(method=SplitMethod.K_FOLD)))
    changed = replace(
        adam,
        fit=replace(
            adam.fit,
            optimizer=Optimizer.ADAMW,
            schedule=replace(adam.fit.schedule, kind=ScheduleKind.REDUCE_ON_PLATEAU),
        ),
        split=SplitSpec(
            method=SplitMethod.STRATIFIED, validation_share=adam.split.validation_share
        ),
    )
    found = resolved(changed)
    assert found.fit.weight_decay == 0.004
    assert (found.fit.schedule.factor, found.fit.schedule.patience_epochs) == (0.5, 5)
    assert found.split.validation_share == 0.2


@pytest.mark.parametrize("kind", list(SHAPES))
def test_resolving_twice_changes_nothing(kind):
    """A resolved spec is its own resolution and survives the wire."""
    spec = resolved(TrainingSpec(), kind)
    assert resolved(spec, kind) == spec
    assert from_message(TrainingSpec, to_message(spec, spec_pb2.TrainingSpec)) == spec


@pytest.mark.parametrize(
    ("kind", "preset"), [(k, p.id) for k in SHAPES for p in presets.for_input_kind(k)]
)
def test_every_preset_fits_its_kinds(kind, preset):
    """Every preset has a valid network for every kind that it is offered for."""
    network = layers_of(Architecture(preset=preset), kind, SHAPES[kind])
    assert layers.infer(network, SHAPES[kind], 7)[-1].output_shape == (7,)


@pytest.mark.parametrize(
    ("kind", "preset"),
    [
        (InputKind.TIME_SERIES, "conv1d"),
        (InputKind.TIME_SERIES, "ds-cnn"),
        (InputKind.IMAGE, "conv2d"),
        (InputKind.IMAGE, "mobilenet"),
    ],
)
def test_flat_windows_and_images_are_given_no_width_of_audio(kind, preset):
    """1,040 values are 26 x 40 of audio, but not so of a window or an image: they are refused."""
    with pytest.raises(InvalidInput, match=r"architecture\.preset: .*received \(1040,\)"):
        layers_of(Architecture(preset=preset), kind, (1040,))


@pytest.mark.parametrize("preset", ["conv1d", "conv2d", "ds-cnn", "dense"])
def test_spectrograms_of_one_channel_are_those_of_two_axes(preset):
    """Frames and bands with a channel axis of 1 give the networks of those without."""
    architecture = Architecture(preset=preset)
    found = [
        layers.infer(layers_of(architecture, InputKind.AUDIO, shape), shape, 4)
        for shape in ((49, 40, 1), (49, 40))
    ]
    assert found[0][-1].input_shape == found[1][-1].input_shape
    assert layers.parameter_count(found[0]) == layers.parameter_count(found[1])


def test_product_presets_have_the_product_layers():
    """Dense is 20 and 10 neurons, audio 1-D is 8 and 16 filters of 3 with dropout 0.25."""
    dense = presets.get("dense").layers(InputKind.SPECTRAL, (33,)).layers
    assert [layer.units for layer in dense] == [20, 10]
    conv = presets.get("conv1d").layers(InputKind.AUDIO, (650,)).layers
    assert [
        (layer.kind.name, layer.units, layer.kernel_size, layer.rate, layer.columns)
        for layer in conv
    ] == [
        ("RESHAPE", 0, 0, 0.0, 13),
        ("CONV1D", 8, 3, 0.0, 0),
        ("DROPOUT", 0, 0, 0.25, 0),
        ("CONV1D", 16, 3, 0.0, 0),
        ("DROPOUT", 0, 0, 0.25, 0),
        ("FLATTEN", 0, 0, 0.0, 0),
    ]
    assert presets.get("conv1d").fit_defaults(InputKind.AUDIO).epochs == 100


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (TrainingSpec(fit=FitSettings(learning_rate=float("nan"))), "fit.learning_rate"),
        (TrainingSpec(fit=FitSettings(momentum=0.9)), "fit.momentum"),
        (
            TrainingSpec(fit=FitSettings(schedule=Schedule(warmup_epochs=3))),
            "fit.schedule.warmup_epochs",
        ),
        (
            TrainingSpec(
                fit=FitSettings(
                    epochs=3, schedule=Schedule(kind=ScheduleKind.COSINE, warmup_epochs=3)
                )
            ),
            "fit.schedule.warmup_epochs",
        ),
        (TrainingSpec(split=SplitSpec(method=SplitMethod.GROUP)), "split.method"),
        (TrainingSpec(split=SplitSpec(method=SplitMethod.MARKED)), "split.method: expected a data"),
        (TrainingSpec(split=SplitSpec(final_fit=True)), "split.final_fit"),
        (
            TrainingSpec(split=SplitSpec(method=SplitMethod.K_FOLD, extra_epochs=3)),
            "split.extra_epochs",
        ),
        (
            TrainingSpec(split=SplitSpec(method=SplitMethod.K_FOLD, validation_share=0.3)),
            "split.validation_share",
        ),
        (
            TrainingSpec(split=SplitSpec(validation_rows=(1, 2), validation_share=0.0)),
            "split.validation_share",
        ),
        (TrainingSpec(architecture=Architecture(preset="conv2d")), "architecture.preset"),
        (TrainingSpec(architecture=Architecture(script=" ")), "architecture.script"),
        (
            TrainingSpec(
                architecture=Architecture(
                    layers=LayerList((Layer(LayerKind.DENSE, units=4), Layer(LayerKind.MAX_POOL)))
                )
            ),
            r"architecture\.layers\.layers\[1\]",
        ),
    ],
)
def test_contradictions_are_refused_with_their_path(spec, field):
    """A setting that means nothing is refused with the field's path."""
    with pytest.raises(InvalidInput, match=field):
        resolved(spec)


MASKED = Augmentation(
    spectrogram=SpectrogramAugmentation(frequency_mask_count=1, frequency_mask_bands=13)
)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (Architecture(preset="conv1d"), (650,)),
        (Architecture(preset="conv2d"), (650,)),
        (Architecture(preset="conv2d"), (50, 13, 1)),
        (Architecture(script="def build_model(input_shape, num_classes): ..."), (650,)),
    ],
)
def test_spectrograms_may_come_flat(architecture, shape):
    """What the network reshapes to frames and bands can be augmented; 14 bands of 13 can't."""
    settings = {
        "input_kind": InputKind.AUDIO,
        "input_shape": shape,
        "class_count": 3,
        "has_groups": False,
    }
    spec = TrainingSpec(architecture=architecture, augmentation=MASKED)
    assert resolve(spec, **settings).augmentation == MASKED
    if architecture.script is None:
        wider = SpectrogramAugmentation(frequency_mask_count=1, frequency_mask_bands=14)
        spec = replace(spec, augmentation=Augmentation(spectrogram=wider))
        with pytest.raises(InvalidInput, match=r"frequency_mask_bands: expected at most 13"):
            resolve(spec, **settings)


def test_a_dense_network_over_flat_audio_has_no_spectrograms():
    """Nothing says how many bands there are."""
    spec = TrainingSpec(architecture=Architecture(preset="dense"), augmentation=MASKED)
    with pytest.raises(InvalidInput, match=r"augmentation\.spectrogram: expected audio"):
        resolve(
            spec,
            input_kind=InputKind.AUDIO,
            input_shape=(650,),
            class_count=3,
            has_groups=False,
        )


@pytest.mark.parametrize("kind", [InputScaling.STANDARD, InputScaling.ROBUST])
def test_scaling_and_its_merge_with_quantization_agree(kind):
    """One multiply-add a feature gives the int8 input that scaling and quantizing give."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(200, 5)) * [1, 10, 1e4, 0.1, 0] + [0, 5, -3e4, 2, 7]).astype(np.float32)
    scaler = fit_scaler(kind, x)
    scaled = scaler.apply(x)
    assert np.abs(np.median(scaled, axis=0)).max() < 0.2
    assert scaled[:, 4].tolist() == [0.0] * 200
    scale, zero_point = 0.03, -7
    multiplier, addend = scaler.merged(scale, zero_point)
    apart = np.round(scaled / scale + zero_point)
    merged = np.round(x * multiplier + addend)
    assert np.abs(apart - merged).max() <= 1
    assert (apart == merged).mean() > 0.99


def test_scaling_survives_the_manifest():
    """A scaling read back from a manifest scales to the same bits."""
    x = np.random.default_rng(2).normal(size=(50, 4, 3)).astype(np.float32)
    scaler = fit_scaler(InputScaling.STANDARD, x)
    again = Scaler.from_dict(scaler.to_dict())
    assert scaler.offset.shape == (3,)
    assert np.array_equal(scaler.apply(x), again.apply(x))
