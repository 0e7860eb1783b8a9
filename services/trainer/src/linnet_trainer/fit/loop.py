"""The compiled training loop: many steps in one call of one graph.

A loop is traced once for an architecture and its settings and is used again by every run that
shares them; all that changes from run to run is `LoopState` and the data. Chunks of an epoch give
the same bits as the whole epoch, which progress, time limits and checkpoints rely on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from linnet_ml.augmentation import Augmentation
from linnet_ml.spec import FitSettings

from linnet_trainer.fit.augment import changes_for
from linnet_trainer.fit.inference import rows_at_once
from linnet_trainer.fit.loop_state import Array, EpochPlan, LoopState, Rows, Tensor
from linnet_trainer.fit.losses import correct_rows, loss_of
from linnet_trainer.fit.update_rules import rule_for

Look = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What a traced loop depends on beside the model.

    Attributes:
        fit: Optimizer, batch size and label smoothing count.
        augmentation: Changes of training rows.
        weighted: Whether rows have weights of their own.
        xla: Whether the loop is compiled by XLA.
        sequential: Whether operations run in a fixed order, see `Engine`.
    """

    fit: FitSettings
    augmentation: Augmentation
    weighted: bool
    xla: bool
    sequential: bool = False


class _Feed(NamedTuple):
    """Tensors of an epoch: `batches` and `rest` hold row numbers, `rates` the rule's for a step."""

    features: Tensor
    labels: Tensor
    weights: Tensor
    batches: Tensor
    rest: Tensor
    rates: tuple[Tensor, ...]
    seed: Tensor
    bounds: Tensor


class TrainingLoop:
    """Traced steps over one model.

    Attributes:
        firsts: Calls so far that were the first of their shapes, and so traced and made kernels.
        change: The augmentation of training rows, see `changes_for`; None for none.
    """

    def __init__(self, model: Any, settings: LoopSettings) -> None:
        self._model = model
        self._settings = settings
        self._batch = settings.fit.batch_size
        self.change = changes_for(settings.augmentation, model)
        self._loss = loss_of(settings.fit.label_smoothing, model.output_shape[-1])
        self._shapes = [tuple(v.shape) for v in model.trainable_variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._rule = rule_for(settings.fit, self._sizes)
        self._limits = [v.constraint for v in model.trainable_variables]
        self._normalized = any(
            isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers
        )
        self._steps = self._traced(self._full_steps)
        self._uneven = self._traced(self._uneven_steps)
        self._tails: dict[int, Callable[..., Any]] = {}
        self._scores = tf.function(self._score, autograph=False, reduce_retracing=True)
        self._most_rows = rows_at_once(model)
        self._shapes_seen: set[tuple[Any, ...]] = set()
        self.firsts = 0

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
        # Over batches of unequal sizes model.fit leaves the size open, which changes the last bit
        # of batch normalization's gradients; without normalization a known size is faster.
        uneven = self._normalized and len(epoch.order) > full * self._batch
        if uneven:
            full = 0
        values = self._tensors(state)
        rates = self._rule.rates(epoch.rates, state.step - start)
        feed = _Feed(
            rows.features,
            rows.labels,
            rows.weights,
            tf.constant(epoch.order[: full * self._batch].reshape(full, self._batch)),
            tf.constant(epoch.order[full * self._batch :]),
            tuple(tf.constant(vector) for vector in rates),
            tf.constant(epoch.seed),
            rows.bounds,
        )
        shape = rows.features.shape
        with self._executor():
            if uneven:
                self._note("uneven", shape, feed.rest.shape)
                values = self._uneven(feed, tf.constant(start), tf.constant(stop), *values)
            elif start < min(stop, full):
                ends = (tf.constant(start), tf.constant(min(stop, full)))
                self._note("steps", shape, feed.batches.shape, feed.rest.shape)
                values = self._steps(feed, *ends, *values)
            if not uneven and stop > full:
                tail = self._tail(len(epoch.order) - full * self._batch)
                self._note("tail", shape, feed.batches.shape, feed.rest.shape)
                values = tail(feed, tf.constant(full), *values)
        return self._state(values, state.step + stop - start)

    def kernels_were_dropped(self) -> None:
        """Take that TensorFlow makes its kernels anew, as after a change of its seed."""
        self._shapes_seen.clear()

    def _note(self, *call: Any) -> None:
        if call not in self._shapes_seen:
            self._shapes_seen.add(call)
            self.firsts += 1

    def _executor(self) -> AbstractContextManager[Any]:
        if not self._settings.sequential:
            return nullcontext()
        name = "SINGLE_THREADED_EXECUTOR"
        executor: AbstractContextManager[Any] = tf.experimental.function_executor_type(name)
        return executor

    def score(self, state: LoopState, rows: Rows, look: Look | None = None) -> tuple[float, float]:
        """Give mean loss, regularizers included, and accuracy over rows, in inference mode.

        Args:
            state: Weights and other variables.
            rows: The rows.
            look: Called between parts of the rows with the share that is done; may raise.
        """
        flat = tf.convert_to_tensor(state.weights)
        fixed = [tf.convert_to_tensor(a) for a in state.fixed]
        loss = correct = 0.0
        for part in self._parts_of(rows, look):
            self._note("scores", part.features.shape)
            with self._executor():
                mean, right = self._scores(part.features, part.labels, flat, *fixed)
            loss += float(mean) * part.count
            correct += float(right)
        return loss / rows.count, correct / rows.count

    def probabilities(self, state: LoopState, rows: Rows, look: Look | None = None) -> Array:
        """Give the class probabilities of rows in inference mode, float32, (n, classes)."""
        parts = self._parts(tf.convert_to_tensor(state.weights))
        fixed = [tf.convert_to_tensor(a) for a in state.fixed]
        found = []
        for part in self._parts_of(rows, look):
            scores, _ = self._model.stateless_call(parts, fixed, part.features, training=False)
            found.append(np.asarray(scores))
        return np.concatenate(found)

    def first_part(self, rows: Rows) -> Rows:
        """Give as many rows as one call scores."""
        return rows if rows.count <= self._most_rows else rows.part(0, self._most_rows)

    def _parts_of(self, rows: Rows, look: Look | None) -> Iterator[Rows]:
        if rows.count <= self._most_rows:
            yield rows
            return
        for start in range(0, rows.count, self._most_rows):
            if start and look is not None:
                look(start / rows.count)
            yield rows.part(start, start + self._most_rows)

    def _tensors(self, state: LoopState) -> list[Tensor]:
        return [
            tf.constant(np.float32(state.loss_sum)),
            tf.constant(np.float32(state.correct)),
            *(tf.convert_to_tensor(a) for a in (state.weights, *state.slots, *state.fixed)),
        ]

    def _state(self, values: Sequence[Tensor], step: int) -> LoopState:
        loss_sum, correct, *arrays = (np.asarray(v) for v in values)
        slots = self._rule.slot_count
        return LoopState(
            arrays[0],
            tuple(arrays[1 : 1 + slots]),
            tuple(arrays[1 + slots :]),
            step,
            float(loss_sum),
            float(correct),
        )

    def _tail(self, size: int) -> Callable[..., Any]:
        if size not in self._tails:

            def tail(feed: _Feed, number: Tensor, *values: Tensor) -> list[Tensor]:
                feed.rest.set_shape((size,))
                return self._one_step(feed, number, feed.rest, values)

            self._tails[size] = self._traced(tail)
        return self._tails[size]

    def _traced(self, steps: Callable[..., Any]) -> Callable[..., Any]:
        traced: Callable[..., Any] = tf.function(
            steps, autograph=False, jit_compile=self._settings.xla, reduce_retracing=True
        )
        return traced

    def _full_steps(
        self, feed: _Feed, start: Tensor, stop: Tensor, *values: Tensor
    ) -> list[Tensor]:
        def batch(number: Tensor) -> Tensor:
            index = tf.gather(feed.batches, number)
            index.set_shape((self._batch,))
            return index

        return self._many_steps(feed, batch, (start, stop), values)

    def _uneven_steps(
        self, feed: _Feed, start: Tensor, stop: Tensor, *values: Tensor
    ) -> list[Tensor]:
        def batch(number: Tensor) -> Tensor:
            return feed.rest[number * self._batch : (number + 1) * self._batch]

        return self._many_steps(feed, batch, (start, stop), values)

    def _many_steps(
        self,
        feed: _Feed,
        batch: Callable[[Tensor], Tensor],
        ends: tuple[Tensor, Tensor],
        values: Sequence[Tensor],
    ) -> list[Tensor]:
        def body(number: Tensor, *values: Tensor) -> list[Tensor]:
            return [number + 1, *self._one_step(feed, number, batch(number), values)]

        ended = tf.while_loop(lambda number, *_: number < ends[1], body, [ends[0], *values])
        return list(ended[1:])

    def _one_step(
        self, feed: _Feed, number: Tensor, index: Tensor, values: Sequence[Tensor]
    ) -> list[Tensor]:
        loss_sum, correct, flat, *others = values
        slots, fixed = others[: self._rule.slot_count], others[self._rule.slot_count :]
        # An operation costs more than its arithmetic here, so shapes are told, not ensured.
        size = index.shape[0]
        rates = tuple(tf.gather(vector, number) for vector in feed.rates)
        rows, labels = tf.gather(feed.features, index), tf.gather(feed.labels, index)
        if self.change is not None:
            seed = tf.random.experimental.stateless_fold_in(feed.seed, number)
            rows = self.change(rows, seed, feed.bounds)
            rows.set_shape((size, *feed.features.shape[1:]))
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
        flat, *slots = self._rule.update(flat, joined, tuple(slots), rates)
        return [
            loss_sum + loss * (tf.cast(tf.shape(index)[0], tf.float32) if size is None else size),
            correct + correct_rows(labels, scores),
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
        return loss, correct_rows(y, scores)
