# ruff: noqa: PLR2004 - numbers of axes speak for themselves
"""What a spec may not say: values out of range and settings that contradict each other."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any

from linnet_runtime.errors import InvalidInput, Violation

from linnet_ml.augmentation import Augmentation, SpectrogramAugmentation
from linnet_ml.spec import (
    FitSettings,
    InputKind,
    LayerKind,
    LayerList,
    Optimizer,
    ScheduleKind,
    SplitMethod,
    SplitSpec,
    TrainingSpec,
)

Shape = tuple[int, ...]

_MOST_HELD_OUT = 0.9
_MOST_FOLDS = 100
_MOST_SMOOTHING = 0.5


def check_spec(
    spec: TrainingSpec, input_shape: Shape, *, has_groups: bool, has_validation: bool
) -> None:
    """Refuse a spec that no run can follow.

    Raises:
        InvalidInput: Names every wrong field, `fit.schedule.factor` and the like.
    """
    violations = list(_number_violations(spec, ""))
    if not violations:
        violations += _fit_violations(spec.fit)
        violations += _split_violations(spec.split, has_groups)
        violations += _marked_violations(spec.split, has_validation)
        violations += _augmentation_violations(spec.augmentation, input_shape)
    if violations:
        raise InvalidInput(violations)


def _fit_violations(fit: FitSettings) -> Iterator[Violation]:
    if not 0 <= fit.learning_rate <= 1:
        yield _wrong("fit.learning_rate", "0 to 1", fit.learning_rate)
    if not 0 <= fit.label_smoothing <= _MOST_SMOOTHING:
        yield _wrong("fit.label_smoothing", f"0 to {_MOST_SMOOTHING}", fit.label_smoothing)
    if not 0 <= fit.momentum < 1:
        yield _wrong("fit.momentum", "at least 0 and below 1", fit.momentum)
    if fit.momentum and fit.optimizer not in {Optimizer.SGD, Optimizer.RMSPROP}:
        yield Violation("fit.momentum", "expected nothing, only SGD and RMSprop have a momentum")
    if fit.weight_decay and fit.optimizer is not Optimizer.ADAMW:
        yield Violation("fit.weight_decay", "expected nothing, only AdamW has a weight decay")
    yield from _schedule_violations(fit)


def _schedule_violations(fit: FitSettings) -> Iterator[Violation]:
    schedule = fit.schedule
    path = "fit.schedule"
    if schedule.warmup_epochs and schedule.kind is not ScheduleKind.COSINE:
        yield Violation(f"{path}.warmup_epochs", "expected nothing but with a cosine schedule")
    if fit.epochs and schedule.warmup_epochs >= fit.epochs:
        yield _wrong(f"{path}.warmup_epochs", f"below {fit.epochs} epochs", schedule.warmup_epochs)
    plateau = schedule.kind is ScheduleKind.REDUCE_ON_PLATEAU
    for name in ("factor", "patience_epochs"):
        if getattr(schedule, name) and not plateau:
            yield Violation(f"{path}.{name}", "expected nothing but with reduce on plateau")
    if schedule.factor is not None and schedule.factor >= 1:
        yield _wrong(f"{path}.factor", "0 or more and below 1", schedule.factor)
    moving = plateau or schedule.kind is ScheduleKind.COSINE
    if schedule.min_learning_rate and not moving:
        yield Violation(f"{path}.min_learning_rate", "expected nothing with a constant rate")
    if fit.learning_rate and schedule.min_learning_rate > fit.learning_rate:
        yield _wrong(
            f"{path}.min_learning_rate",
            f"at most the learning rate {fit.learning_rate}",
            schedule.min_learning_rate,
        )


def _split_violations(split: SplitSpec, has_groups: bool) -> Iterator[Violation]:
    for name in ("validation_share", "test_share"):
        share = getattr(split, name)
        if share is not None and not 0 <= share <= _MOST_HELD_OUT:
            yield _wrong(f"split.{name}", f"0 to {_MOST_HELD_OUT}", share)
    if not has_groups:
        if split.method in {SplitMethod.GROUP, SplitMethod.LEAVE_ONE_GROUP_OUT}:
            words = f"expected a dataset with groups for {split.method.name}"
            yield Violation("split.method", words)
        for name in ("test_groups", "validation_groups"):
            if getattr(split, name):
                yield Violation(f"split.{name}", "expected nothing, the dataset has no groups")
    yield from _explicit_violations(split)
    yield from _fold_violations(split)


def _marked_violations(split: SplitSpec, has_validation: bool) -> Iterator[Violation]:
    if split.method is not SplitMethod.MARKED:
        return
    if not has_validation:
        yield Violation("split.method", "expected a dataset that marks validation rows for MARKED")
    if split.validation_share is not None:
        yield Violation("split.validation_share", "expected nothing with MARKED")
    if split.no_validation:
        yield Violation("split.no_validation", "expected false with MARKED")


def _explicit_violations(split: SplitSpec) -> Iterator[Violation]:
    explicit = bool(split.validation_rows or split.validation_groups)
    if explicit and split.method not in {SplitMethod.EXPLICIT, SplitMethod.UNSPECIFIED}:
        yield Violation("split.method", "expected EXPLICIT with validation rows or groups")
    if split.method is SplitMethod.EXPLICIT and not explicit:
        yield Violation("split.validation_rows", "expected rows or groups with EXPLICIT")
    if split.no_validation and (explicit or split.validation_share):
        yield Violation("split.no_validation", "expected no validation share, rows or groups")
    if split.validation_share is not None and explicit:
        words = "expected nothing with validation rows or groups"
        yield Violation("split.validation_share", words)


def _fold_violations(split: SplitSpec) -> Iterator[Violation]:
    folded = split.method in {SplitMethod.K_FOLD, SplitMethod.LEAVE_ONE_GROUP_OUT}
    if split.no_validation and folded:
        yield Violation("split.no_validation", "expected false with folds")
    if split.validation_share is not None and folded:
        words = "expected nothing with folds, each of which is a validation set"
        yield Violation("split.validation_share", words)
    if split.final_fit and not folded:
        yield Violation("split.final_fit", "expected false without folds")
    if split.extra_epochs and not split.final_fit:
        yield Violation("split.extra_epochs", "expected nothing but with a final fit")
    if split.fold_count and split.method is not SplitMethod.K_FOLD:
        yield Violation("split.fold_count", "expected nothing but with K_FOLD")
    if split.fold_count == 1 or split.fold_count > _MOST_FOLDS:
        yield _wrong("split.fold_count", f"2 to {_MOST_FOLDS}", split.fold_count)


def _augmentation_violations(given: Augmentation, shape: Shape) -> Iterator[Violation]:
    path = "augmentation"
    if given.image is not None and len(shape) != 3:
        words = f"expected rows of (height, width, channels), received {shape}"
        yield Violation(f"{path}.image", words)
    if given.time_series is not None:
        if len(shape) != 2:
            words = f"expected rows of (steps, channels), received {shape}"
            yield Violation(f"{path}.time_series", words)
        elif given.time_series.shift_steps >= shape[0]:
            name = f"{path}.time_series.shift_steps"
            yield _wrong(name, f"below {shape[0]}", given.time_series.shift_steps)


def check_spectrogram(
    given: SpectrogramAugmentation, kind: InputKind, input_shape: Shape, layers: LayerList | None
) -> None:
    """Refuse an augmentation that the spectrograms of a network can't have.

    Args:
        given: The augmentation.
        kind: What the features are.
        input_shape: Shape of one row.
        layers: Enabled layers, whose shapes have been inferred; None for a script, whose model
            the trainer asks.

    Raises:
        InvalidInput: Rows are no spectrograms, or a stretch is longer than they are.
    """
    path = "augmentation.spectrogram"
    shape = _spectrogram_shape(input_shape, layers)
    if kind is InputKind.AUDIO and shape is None and layers is None and len(input_shape) == 1:
        return
    if kind is not InputKind.AUDIO or shape is None:
        raise InvalidInput.of(
            path,
            "expected audio features of shape (frames, bands), or of one axis before a layer that "
            f"reshapes to them, received {kind.name} {input_shape}",
        )
    limits = {
        "time_mask_frames": shape[0],
        "frequency_mask_bands": shape[1],
        "warp_frames": shape[0] // 2,
    }
    wrong = [
        _wrong(f"{path}.{name}", f"at most {limit}", getattr(given, name))
        for name, limit in limits.items()
        if getattr(given, name) > limit
    ]
    if wrong:
        raise InvalidInput(wrong)


def _spectrogram_shape(input_shape: Shape, layers: LayerList | None) -> Shape | None:
    """Give (frames, bands) of a row as it comes or as the first layer reshapes it."""
    if len(input_shape) == 1 and layers is not None and layers.layers:
        first = layers.layers[0]
        if first.kind is LayerKind.RESHAPE and first.channels <= 1:
            return (input_shape[0] // first.columns, first.columns)
    if len(input_shape) == 3 and input_shape[2] == 1:
        return input_shape[:2]
    return input_shape if len(input_shape) == 2 else None


def _wrong(path: str, expected: str, received: object) -> Violation:
    return Violation(path, f"expected {expected}, received {received}")


def _number_violations(value: Any, path: str) -> Iterator[Violation]:
    if is_dataclass(value):
        for field in fields(value):
            name = f"{path}.{field.name}" if path else field.name
            yield from _number_violations(getattr(value, field.name), name)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _number_violations(item, f"{path}[{index}]")
    elif isinstance(value, timedelta):
        yield from _number_violations(value.total_seconds(), path)
    elif isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        yield _wrong(path, "a finite number, zero or more", value)
