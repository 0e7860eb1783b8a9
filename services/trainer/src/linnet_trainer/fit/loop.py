"""The compiled training loop: many steps in one call of one graph.

A loop is traced once for an architecture and its settings and is used again by every run that
shares them; all that changes from run to run is `LoopState` and the data. Chunks of an epoch give
the same bits as the whole epoch, which progress, time limits and checkpoints rely on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from linnet_ml.spec import Augmentation, FitSettings
from numpy.typing import NDArray

from linnet_trainer.fit.augment import changes_for
from linnet_trainer.fit.update_rules import rule_for

Tensor = Any
Array = NDArray[Any]


@dataclass(slots=True)
class LoopState:
    """All that training changes; numpy arrays, so that it can be stored and compared.

    Attributes:
        weights: All trainable variables, flat and one after the other, float32.
        slots: The optimizer's vectors, each as long as `weights`.
        fixed: Other variables of the model: moving statistics and the seeds of dropout.
        step: Steps taken since the start of the run.
        loss_sum: Sum over this epoch's rows of their batch's loss, float32.
        correct: Rows of this epoch that were classified correctly, float32.
    """

    weights: Array
    slots: tuple[Array, ...]
    fixed: tuple[Array, ...]
    step: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What a traced loop depends on beside the model.

    Attributes:
        fit: Optimizer, batch size and label smoothing count.
        augmentation: Changes of training rows.
        weighted: Whether rows have weights of their own.
        xla: Whether the loop is compiled by XLA.
    """

    fit: FitSettings
    augmentation: Augmentation
    weighted: bool
    xla: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows on the way into the graph; all tensors have the same first axis."""

    features: Tensor
    labels: Tensor
    weights: Tensor

    @classmethod
    def of(cls, features: Array, labels: Array, weights: Array | None = None) -> "Rows":
        """Hand arrays to TensorFlow: float32 features, int32 labels, float32 weights."""
        if weights is None:
            weights = np.ones(len(labels), dtype=np.float32)
        return cls(
            tf.convert_to_tensor(np.ascontiguousarray(features, dtype=np.float32)),
            tf.convert_to_tensor(labels.astype(np.int32)),
            tf.convert_to_tensor(weights.astype(np.float32)),
        )

    @property
    def count(self) -> int:
        """Rows."""
        return int(self.labels.shape[0])


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """What differs from epoch to epoch.

    Attributes:
        order: Row of each position of the epoch, int32; may be longer than the rows.
        rates: Learning rate of each step, float32.
        seed: Seed of the epoch's augmentation, both below 2**31.
    """

    order: Array
    rates: Array
    seed: tuple[int, int]


class _Feed(NamedTuple):
    features: Tensor
    labels: Tensor
    weights: Tensor
    order: Tensor
    rates: Tensor
    seed: Tensor


class TrainingLoop:
    """Traced steps over one model."""

    def __init__(self, model: Any, settings: LoopSettings) -> None:
        self._model = model
        self._settings = settings
        self._batch = settings.fit.batch_size
        self._rule = rule_for(settings.fit)
        self._change = changes_for(settings.augmentation)
        self._loss = _loss_of(settings.fit.label_smoothing, model.output_shape[-1])
        self._shapes = [tuple(v.shape) for v in model.trainable_variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._limits = [v.constraint for v in model.trainable_variables]
        self._steps = tf.function(
            self._full_steps, autograph=False, jit_compile=settings.xla, reduce_retracing=True
        )
        self._tails: dict[int, Callable[..., Any]] = {}
        self._scores = tf.function(self._score, autograph=False, reduce_retracing=True)

    def fresh_state(self, model: Any) -> LoopState:
        """Read the starting state of a newly built model of the loop's architecture."""
        weights = [v.numpy().ravel() for v in model.trainable_variables]
        flat = np.concatenate(weights) if weights else np.zeros(0, dtype=np.float32)
        slots = tuple(np.zeros_like(flat) for _ in range(self._rule.slot_count))
        fixed = tuple(v.numpy().copy() for v in model.non_trainable_variables)
        return LoopState(flat, slots, fixed)

    def put_weights(self, state: LoopState, model: Any) -> None:
        """Write a state's weights into a model of the loop's architecture."""
        for variable, value in zip(
            model.trainable_variables, self._apart(state.weights), strict=True
        ):
            variable.assign(value)
        for variable, value in zip(model.non_trainable_variables, state.fixed, strict=True):
            variable.assign(value)

    def _apart(self, flat: Array) -> list[Array]:
        parts = np.split(flat, np.cumsum(self._sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def run(
        self, state: LoopState, rows: Rows, epoch: EpochPlan, start: int, stop: int
    ) -> LoopState:
        """Take the steps from `start` to `stop` of an epoch; the last batch may be smaller.

        Args:
            state: The state before.
            rows: Training rows.
            epoch: Order, rates and seed.
            start: First step.
            stop: Step after the last one.

        Returns:
            The state after.
        """
        full = len(epoch.order) // self._batch
        values = self._tensors(state)
        feed = _Feed(
            rows.features,
            rows.labels,
            rows.weights,
            tf.constant(epoch.order),
            tf.constant(epoch.rates),
            tf.constant(epoch.seed),
        )
        if start < min(stop, full):
            ends = (tf.constant(start), tf.constant(min(stop, full)))
            values = self._steps(feed, *ends, *values)
        if stop > full:
            values = self._tail(len(epoch.order) - full * self._batch)(
                feed, tf.constant(full), *values
            )
        return self._state(values)

    def score(self, state: LoopState, rows: Rows, most_rows: int) -> tuple[float, float]:
        """Give mean loss, regularizers included, and accuracy over rows, in inference mode."""
        flat = tf.convert_to_tensor(state.weights)
        fixed = [tf.convert_to_tensor(a) for a in state.fixed]
        loss = correct = 0.0
        for start in range(0, rows.count, most_rows):
            features, labels = rows.features, rows.labels
            if rows.count > most_rows:
                part = slice(start, start + most_rows)
                features, labels = features[part], labels[part]
            mean, right = self._scores(features, labels, flat, *fixed)
            loss += float(mean) * int(labels.shape[0])
            correct += float(right)
        return loss / rows.count, correct / rows.count

    def probabilities(self, state: LoopState, rows: Rows, most_rows: int) -> Array:
        """Give the class probabilities of rows in inference mode, float32, (n, classes)."""
        parts = self._parts(tf.convert_to_tensor(state.weights))
        fixed = [tf.convert_to_tensor(a) for a in state.fixed]
        found = []
        for start in range(0, rows.count, most_rows):
            part = rows.features[start : start + most_rows]
            scores, _ = self._model.stateless_call(parts, fixed, part, training=False)
            found.append(np.asarray(scores))
        return np.concatenate(found)

    def _tensors(self, state: LoopState) -> list[Tensor]:
        return [
            tf.constant(np.float32(state.loss_sum)),
            tf.constant(np.float32(state.correct)),
            tf.constant(state.step, dtype=tf.int64),
            *(tf.convert_to_tensor(a) for a in (state.weights, *state.slots, *state.fixed)),
        ]

    def _state(self, values: Sequence[Tensor]) -> LoopState:
        loss_sum, correct, step, *arrays = (np.asarray(v) for v in values)
        slots = self._rule.slot_count
        return LoopState(
            arrays[0],
            tuple(arrays[1 : 1 + slots]),
            tuple(arrays[1 + slots :]),
            int(step),
            float(loss_sum),
            float(correct),
        )

    def _tail(self, size: int) -> Callable[..., Any]:
        if size not in self._tails:

            def tail(feed: _Feed, number: Tensor, *values: Tensor) -> list[Tensor]:
                return self._one_step(feed, number, size, values)

            self._tails[size] = tf.function(
                tail, autograph=False, jit_compile=self._settings.xla, reduce_retracing=True
            )
        return self._tails[size]

    def _full_steps(
        self, feed: _Feed, start: Tensor, stop: Tensor, *values: Tensor
    ) -> list[Tensor]:
        def body(number: Tensor, *values: Tensor) -> list[Tensor]:
            return [number + 1, *self._one_step(feed, number, self._batch, values)]

        ended = tf.while_loop(lambda number, *_: number < stop, body, [start, *values])
        return list(ended[1:])

    def _one_step(
        self, feed: _Feed, number: Tensor, size: int, values: Sequence[Tensor]
    ) -> list[Tensor]:
        loss_sum, correct, step, flat, *others = values
        slots, fixed = others[: self._rule.slot_count], others[self._rule.slot_count :]
        shape = (size, *feed.features.shape[1:])
        index = tf.slice(feed.order, [number * self._batch], [size])
        rate = feed.rates[number]
        rows = tf.ensure_shape(tf.gather(feed.features, index), shape)
        labels = tf.gather(feed.labels, index)
        if self._change is not None:
            seed = tf.random.experimental.stateless_fold_in(feed.seed, number)
            rows = tf.ensure_shape(self._change(rows, seed), shape)
        row_weights = tf.gather(feed.weights, index) if self._settings.weighted else None
        parts = self._parts(flat)
        with tf.GradientTape() as tape:
            tape.watch(parts)
            scores, fixed, losses = self._model.stateless_call(
                parts, list(fixed), rows, training=True, return_losses=True
            )
            loss = self._loss(labels, scores, sample_weight=row_weights)
            for extra in losses:
                loss += extra
        gradients = tape.gradient(loss, parts, unconnected_gradients="zero")
        joined = tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)
        flat, *slots = self._rule.update(flat, joined, tuple(slots), rate, step)
        return [
            loss_sum + loss * size,
            correct + _correct(labels, scores),
            step + 1,
            self._constrained(flat),
            *slots,
            *(tf.convert_to_tensor(value) for value in fixed),
        ]

    def _parts(self, flat: Tensor) -> list[Tensor]:
        pieces = tf.split(flat, self._sizes)
        return [tf.reshape(p, s) for p, s in zip(pieces, self._shapes, strict=True)]

    def _constrained(self, flat: Tensor) -> Tensor:
        if not any(self._limits):
            return flat
        parts = [
            part if limit is None else limit(part)
            for part, limit in zip(self._parts(flat), self._limits, strict=True)
        ]
        return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)

    def _score(self, x: Tensor, y: Tensor, flat: Tensor, *fixed: Tensor) -> tuple[Tensor, Tensor]:
        scores, _, losses = self._model.stateless_call(
            self._parts(flat), list(fixed), x, training=False, return_losses=True
        )
        loss = self._loss(y, scores)
        for extra in losses:
            loss += extra
        return loss, _correct(y, scores)


def _loss_of(smoothing: float, class_count: int) -> Callable[..., Tensor]:
    if not smoothing:
        loss: Callable[..., Tensor] = keras.losses.SparseCategoricalCrossentropy()
        return loss
    smooth = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)

    def smoothed(labels: Tensor, scores: Tensor, sample_weight: Tensor = None) -> Tensor:
        return smooth(tf.one_hot(labels, class_count), scores, sample_weight=sample_weight)

    return smoothed


def _correct(labels: Tensor, scores: Tensor) -> Tensor:
    chosen = tf.argmax(scores, -1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(chosen, labels), tf.float32))
