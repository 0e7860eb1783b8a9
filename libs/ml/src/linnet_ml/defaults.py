"""Fills every default of a spec in and refuses what contradicts itself.

A stored run carries the resolved spec, so that a later change of a default changes no old run.
"""

from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from linnet_runtime.errors import InvalidInput

from linnet_ml import layers as layer_shapes
from linnet_ml import presets
from linnet_ml.layer_fields import check_fields, with_defaults
from linnet_ml.spec import (
    Architecture,
    ClassBalance,
    EarlyStopping,
    ExportOptions,
    FitSettings,
    InputKind,
    InputScaling,
    LayerList,
    Optimizer,
    Schedule,
    ScheduleKind,
    SplitMethod,
    SplitSpec,
    TensorIo,
    TrainingSpec,
)
from linnet_ml.spec_rules import check_spec, check_spectrogram

Shape = tuple[int, ...]
T = TypeVar("T")

DEFAULT_TARGET = "cortex-m4f-80mhz"
DEFAULT_VALIDATION_SHARE = 0.2
DEFAULT_CALIBRATION_ROWS = 200
DEFAULT_FOLD_COUNT = 5
DEFAULT_WEIGHT_DECAY = 0.004
"""Keras' own default of AdamW."""
DEFAULT_STOPPING_PATIENCE_EPOCHS = 10
DEFAULT_PLATEAU_PATIENCE_EPOCHS = 5
DEFAULT_PLATEAU_FACTOR = 0.5
_SCALED_KINDS = {InputKind.TABULAR, InputKind.SPECTRAL, InputKind.TIME_SERIES}
"""Their columns or channels have units of their own, which one int8 input scale can't serve."""


def resolve(
    spec: TrainingSpec,
    *,
    input_kind: InputKind,
    input_shape: Shape,
    class_count: int,
    has_groups: bool,
    has_validation: bool = False,
) -> TrainingSpec:
    """Fill in every default and check the spec against the kind and shape of its data.

    Args:
        spec: As it came; None stands for a default, and so does a zero that no run can follow.
        input_kind: What the features are.
        input_shape: Shape of one row.
        class_count: Classes of the dataset.
        has_groups: Whether the dataset has a group key.
        has_validation: Whether the dataset marks validation rows.

    Returns:
        The spec that a run stores. A preset stays a preset; its layers come from `network`.

    Raises:
        InvalidInput: Names every field that is wrong, `architecture.layers.layers[2]` and the like.
    """
    check_spec(spec, input_shape, has_groups=has_groups, has_validation=has_validation)
    architecture = _architecture(spec.architecture, input_kind)
    resolved = replace(
        spec,
        fit=_fit(spec.fit, architecture, input_kind),
        split=_split(spec.split, has_groups, has_validation),
        input_scaling=spec.input_scaling or _scaling(input_kind),
        architecture=architecture,
        export=_export(spec.export),
        target=spec.target or DEFAULT_TARGET,
    )
    # Layers as they came, disabled ones among them: a refusal counts places as the caller does.
    network = architecture.layers or layers_of(architecture, input_kind, input_shape)
    if network is not None:
        layer_shapes.infer(network, input_shape, class_count)
    spectrogram = resolved.augmentation.spectrogram
    if spectrogram is not None:
        kept = layers_of(architecture, input_kind, input_shape)
        check_spectrogram(spectrogram, input_kind, input_shape, kept)
    return resolved


def layers_of(
    architecture: Architecture, input_kind: InputKind, input_shape: Shape
) -> LayerList | None:
    """Give the layers of a preset or layer list, disabled ones left out; None for a script.

    Raises:
        InvalidInput: The preset is unknown or does not fit the shape.
    """
    if architecture.script is not None:
        return None
    listed = architecture.layers
    if listed is None:
        preset = presets.get(architecture.preset or presets.default_id(input_kind), input_kind)
        listed = preset.layers(input_kind, input_shape)
    check_fields(listed, layer_shapes.layer_path)
    kept = (layer for layer in listed.layers if layer.enabled is not False)
    return LayerList(tuple(with_defaults(layer) for layer in kept))


def _architecture(given: Architecture, input_kind: InputKind) -> Architecture:
    sources = [s for s in (given.preset, given.layers, given.script) if s is not None]
    if len(sources) > 1:
        raise InvalidInput.of("architecture", "expected one of preset, layers and script")
    if given.layers is not None:
        return given
    if given.script is not None:
        if not given.script.strip():
            raise InvalidInput.of("architecture.script", "expected Python source, received nothing")
        return given
    preset = presets.get(given.preset or presets.default_id(input_kind), input_kind)
    return Architecture(preset=preset.id)


def _fit(given: FitSettings, architecture: Architecture, kind: InputKind) -> FitSettings:
    preset = presets.get(architecture.preset) if architecture.preset else None
    base = preset.fit_defaults(kind) if preset else presets.FitDefaults()
    optimizer = given.optimizer or Optimizer.ADAM
    # None for the others: a spec that is stored and gets another optimizer takes its default.
    decay = _or(given.weight_decay, DEFAULT_WEIGHT_DECAY)
    stopping = given.early_stopping
    if stopping is not None:
        patience = _or(stopping.patience_epochs, DEFAULT_STOPPING_PATIENCE_EPOCHS)
        stopping = EarlyStopping(patience, stopping.min_delta)
    limit = given.time_limit
    return replace(
        given,
        epochs=given.epochs or base.epochs,
        learning_rate=given.learning_rate or base.learning_rate,
        batch_size=given.batch_size or base.batch_size,
        class_balance=given.class_balance or ClassBalance.NONE,
        optimizer=optimizer,
        weight_decay=decay if optimizer is Optimizer.ADAMW else None,
        schedule=_schedule(given.schedule),
        early_stopping=stopping,
        keep_best=given.keep_best is not False,
        time_limit=None if limit == timedelta(0) else limit,
    )


def _or(given: T | None, default: T) -> T:
    """Give a value that may be zero."""
    return default if given is None else given


def _schedule(given: Schedule) -> Schedule:
    kind = given.kind or ScheduleKind.CONSTANT
    if kind is not ScheduleKind.REDUCE_ON_PLATEAU:
        return replace(given, kind=kind, factor=None, patience_epochs=None)
    return replace(
        given,
        kind=kind,
        factor=_or(given.factor, DEFAULT_PLATEAU_FACTOR),
        patience_epochs=_or(given.patience_epochs, DEFAULT_PLATEAU_PATIENCE_EPOCHS),
    )


def _method(given: SplitSpec, has_groups: bool, has_validation: bool) -> SplitMethod:
    if given.method:
        return given.method
    if given.validation_rows or given.validation_groups:
        return SplitMethod.EXPLICIT
    # A share, or none, is a split of the spec's own, and that wins.
    if has_validation and given.validation_share is None and not given.no_validation:
        return SplitMethod.MARKED
    return SplitMethod.GROUP if has_groups else SplitMethod.STRATIFIED


def _split(given: SplitSpec, has_groups: bool, has_validation: bool) -> SplitSpec:
    method = _method(given, has_groups, has_validation)
    shared = method in {SplitMethod.STRATIFIED, SplitMethod.GROUP}
    none = given.no_validation or (shared and given.validation_share == 0)
    share = _or(given.validation_share, DEFAULT_VALIDATION_SHARE)
    folded = method is SplitMethod.K_FOLD
    return replace(
        given,
        method=method,
        validation_share=share if shared and not none else None,
        no_validation=none,
        fold_count=(given.fold_count or DEFAULT_FOLD_COUNT) if folded else 0,
    )


def _scaling(kind: InputKind) -> InputScaling:
    return InputScaling.STANDARD if kind in _SCALED_KINDS else InputScaling.NONE


def _export(given: ExportOptions) -> ExportOptions:
    return replace(
        given,
        int8_io=given.int8_io or TensorIo.INT8,
        calibration_rows=given.calibration_rows or DEFAULT_CALIBRATION_ROWS,
    )
