"""Random changes of training rows inside the compiled graph.

Every draw is stateless, from (seed, epoch, step), so that a resumed run repeats it.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from linnet_ml.augmentation import (
    Augmentation,
    ImageAugmentation,
    SpectrogramAugmentation,
    TimeSeriesAugmentation,
)
from linnet_runtime.errors import InvalidInput

Tensor = Any
Change = Callable[[Tensor, Tensor], Tensor]
"""Maps rows and a seed, int32 of shape (2,), to changed rows of the same shape."""
BoundedChange = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same, given the lowest and the highest value of all training rows as well."""


def changes_for(augmentation: Augmentation, model: Any) -> BoundedChange | None:
    """Make the change of a model's rows that a spec asks for; None when it asks for none.

    Raises:
        InvalidInput: Neither the rows nor the model's first layer have frames and bands.
    """
    steps: list[Change] = []
    brightness = 0.0
    if augmentation.spectrogram is not None:
        shape = _frames_and_bands(model)
        steps += [_seen_as(shape, step) for step in _spectrogram(augmentation.spectrogram)]
    if augmentation.time_series is not None:
        steps += _time_series(augmentation.time_series)
    if augmentation.image is not None:
        steps += _image(augmentation.image)
        brightness = augmentation.image.brightness
    if not steps and not brightness:
        return None

    def change(rows: Tensor, seed: Tensor, bounds: Tensor) -> Tensor:
        for number, step in enumerate(steps):
            rows = step(rows, tf.random.experimental.stateless_fold_in(seed, number))
        if brightness:
            last = tf.random.experimental.stateless_fold_in(seed, len(steps))
            rows = _brighter(rows, last, brightness, bounds)
        return rows

    return change


def _frames_and_bands(model: Any) -> tuple[int, int]:
    shape = tuple(model.input_shape[1:])
    first = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)][:1]
    if len(shape) == 1 and first and isinstance(first[0], keras.layers.Reshape):
        shape = tuple(first[0].output.shape[1:])
    if shape[2:] in {(), (1,)} and len(shape) > 1:
        return shape[0], shape[1]
    raise InvalidInput.of(
        "augmentation.spectrogram",
        "expected audio features of shape (frames, bands), or of one axis before a layer that "
        f"reshapes to them, received {shape}",
    )


def _seen_as(shape: tuple[int, int], step: Change) -> Change:
    """Let a change see rows as spectrograms, whatever their axes."""

    def change(rows: Tensor, seed: Tensor) -> Tensor:
        return tf.reshape(step(tf.reshape(rows, (-1, *shape)), seed), (-1, *rows.shape[1:]))

    return change


def _uniform(seed: Tensor, shape: Any, low: float, high: float, stream: int = 0) -> Tensor:
    folded = tf.random.experimental.stateless_fold_in(seed, stream)
    return tf.random.stateless_uniform(shape, folded, low, high, alg="philox")


def _normal(seed: Tensor, shape: Any, deviation: float, mean: float = 0.0) -> Tensor:
    return tf.random.stateless_normal(shape, seed, mean, deviation, alg="philox")


def _noise(deviation: float) -> Change:
    return lambda rows, seed: rows + _normal(seed, tf.shape(rows), deviation)


def _spectrogram(given: SpectrogramAugmentation) -> list[Change]:
    steps: list[Change] = []
    if given.warp_frames:
        steps.append(_warp(given.warp_frames))
    if given.noise:
        steps.append(_noise(given.noise))
    for count, longest, axis in (
        (given.time_mask_count, given.time_mask_frames, 1),
        (given.frequency_mask_count, given.frequency_mask_bands, 2),
    ):
        if count and longest:
            steps += [_mask(longest, axis)] * count
    return steps


def _mask(longest: int, axis: int) -> Change:
    """Set one stretch of up to `longest` positions to zero, as SpecAugment does."""

    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        size = tf.cast(shape[axis], tf.float32)
        length = tf.floor(_uniform(seed, (shape[0], 1), 0.0, longest + 1.0, 0))
        start = tf.floor(_uniform(seed, (shape[0], 1), 0.0, 1.0, 1) * (size - length + 1.0))
        place = tf.range(size)[tf.newaxis, :]
        kept = tf.cast((place < start) | (place >= start + length), rows.dtype)
        return rows * tf.expand_dims(kept, 2 if axis == 1 else 1)

    return change


def _warp(distance: int) -> Change:
    """Move one point in time by up to `distance` frames, stretching both sides linearly."""

    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        last = tf.cast(shape[1] - 1, tf.float32)
        centre = _uniform(seed, (shape[0], 1), 0.25, 0.75, 0) * last
        limit = tf.minimum(float(distance), last / 4.0)
        moved = centre + _uniform(seed, (shape[0], 1), -1.0, 1.0, 1) * limit
        place = tf.range(last + 1.0)[tf.newaxis, :]
        before = place * centre / moved
        after = centre + (place - moved) * (last - centre) / (last - moved)
        return _at_times(rows, tf.where(place < moved, before, after))

    return change


def _at_times(rows: Tensor, times: Tensor) -> Tensor:
    """Interpolate rows linearly at fractional times, shape (n, steps); edges repeat."""
    last = tf.cast(tf.shape(rows)[1] - 1, tf.float32)
    times = tf.clip_by_value(times, 0.0, last)
    low = tf.floor(times)
    share = (times - low)[..., tf.newaxis]
    first = tf.cast(low, tf.int32)
    second = tf.minimum(first + 1, tf.shape(rows)[1] - 1)
    before = tf.gather(rows, first, axis=1, batch_dims=1)
    after = tf.gather(rows, second, axis=1, batch_dims=1)
    return before + share * (after - before)


def _time_series(given: TimeSeriesAugmentation) -> list[Change]:
    steps: list[Change] = []
    if given.shift_steps:
        steps.append(_shift_time(given.shift_steps))
    if given.scale:
        steps.append(_scale(given.scale))
    if given.drift:
        steps.append(_drift(given.drift))
    if given.jitter:
        steps.append(_noise(given.jitter))
    return steps


def _shift_time(most: int) -> Change:
    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        offset = tf.floor(_uniform(seed, (shape[0], 1), -float(most), most + 1.0))
        place = tf.range(shape[1])[tf.newaxis, :] - tf.cast(offset, tf.int32)
        place = tf.clip_by_value(place, 0, shape[1] - 1)
        return tf.gather(rows, place, axis=1, batch_dims=1)

    return change


def _scale(deviation: float) -> Change:
    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        return rows * _normal(seed, (shape[0], 1, shape[2]), deviation, 1.0)

    return change


def _drift(deviation: float) -> Change:
    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        end = _normal(seed, (shape[0], 1, shape[2]), deviation)
        share = tf.linspace(0.0, 1.0, shape[1])[tf.newaxis, :, tf.newaxis]
        return rows + end * share

    return change


def _image(given: ImageAugmentation) -> list[Change]:
    steps: list[Change] = []
    if given.flip_horizontal:
        steps.append(_flip(2))
    if given.flip_vertical:
        steps.append(_flip(1))
    if given.shift or given.zoom:
        steps.append(_move(given.shift, given.zoom))
    return steps


def _flip(axis: int) -> Change:
    def change(rows: Tensor, seed: Tensor) -> Tensor:
        turned = _uniform(seed, (tf.shape(rows)[0], 1, 1, 1), 0.0, 1.0) < 0.5  # noqa: PLR2004 - half
        return tf.where(turned, tf.reverse(rows, [axis]), rows)

    return change


def _move(shift: float, zoom: float) -> Change:
    """Zoom around the centre and shift, by interpolation; edges repeat."""

    def change(rows: Tensor, seed: Tensor) -> Tensor:
        shape = tf.shape(rows)
        factor = _uniform(seed, (shape[0], 1), 1.0 - zoom, 1.0 + zoom, 0)
        for axis in (1, 2):
            size = tf.cast(shape[axis], tf.float32)
            centre = (size - 1.0) / 2.0
            offset = _uniform(seed, (shape[0], 1), -shift, shift, axis) * size
            times = (tf.range(size)[tf.newaxis, :] - centre - offset) / factor + centre
            rows = _along(rows, times, axis)
        return rows

    return change


def _along(rows: Tensor, times: Tensor, axis: int) -> Tensor:
    if axis == 1:
        shape = tf.shape(rows)
        flat = tf.reshape(rows, (shape[0], shape[1], shape[2] * shape[3]))
        return tf.reshape(_at_times(flat, times), shape)
    turned = tf.transpose(rows, (0, 2, 1, 3))
    return tf.transpose(_along(turned, times, 1), (0, 2, 1, 3))


def _brighter(rows: Tensor, seed: Tensor, most: float, bounds: Tensor) -> Tensor:
    """Add up to that share of the data's range to all values of a row, and stay within it."""
    low, high = bounds[0], bounds[1]
    moved = rows + (high - low) * _uniform(seed, (tf.shape(rows)[0], 1, 1, 1), -most, most)
    return tf.clip_by_value(moved, low, high)
