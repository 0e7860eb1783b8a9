"""The steps of a training as graphs, each traced at the first call of its shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from linnet_ml.augmentation import Augmentation
from linnet_ml.spec import FitSettings

from linnet_trainer.fit.augment import changes_for
from linnet_trainer.fit.flat_weights import FlatWeights
from linnet_trainer.fit.graphs import Graphs
from linnet_trainer.fit.loop_state import Tensor
from linnet_trainer.fit.losses import correct_rows, loss_of
from linnet_trainer.fit.update_rules import rule_for


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What a traced loop depends on beside the model.

    Attributes:
        fit: Optimizer, batch size and label smoothing count.
        augmentation: Changes of training rows.
        weighted: Whether rows have weights of their own.
        sequential: Whether operations run in a fixed order, see `Engine`.
    """

    fit: FitSettings
    augmentation: Augmentation
    weighted: bool
    sequential: bool = False


class Feed(NamedTuple):
    """Tensors of an epoch: `batches` and `rest` hold row numbers, `rates` the rule's for a step."""

    features: Tensor
    labels: Tensor
    weights: Tensor
    bounds: Tensor
    batches: Tensor
    rest: Tensor
    rates: Tensor
    seed: Tensor


class Steps:
    """What a step does to one model; runs that share its settings share it.

    Attributes:
        batch: Rows of a step.
        change: The augmentation of training rows, see `changes_for`; None for none.
        flat: Where the weights lie in their vector.
        rule: How gradients change weights.
        normalized: Whether the model has a batch normalization.
        full: Takes the full batches from one number to before another: of a `Feed`, those numbers
            and the values of a state, gives the values.
        uneven: As `full`, over batches of which the last may be smaller.
        scores: Gives the mean loss and the correct rows of rows in inference mode: of features,
            labels, weights and the model's other variables.
    """

    def __init__(self, model: Any, settings: LoopSettings) -> None:
        self._model = model
        self._settings = settings
        self.batch = settings.fit.batch_size
        self.change = changes_for(settings.augmentation, model)
        self._loss = loss_of(settings.fit.label_smoothing, model.output_shape[-1])
        self.flat = FlatWeights.of(model)
        self.rule = rule_for(settings.fit, self.flat.sizes)
        self._limits = [v.constraint for v in model.trainable_variables]
        self.normalized = any(
            isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers
        )
        self.full = self._graphs(self._full_steps)
        self.uneven = self._graphs(self._uneven_steps)
        self._tails: dict[int, Graphs] = {}
        self.scores = Graphs(self._score)

    def tail(self, size: int) -> Graphs:
        """Give what takes a last batch of that size: of a `Feed`, its number and the values."""
        if size not in self._tails:

            def last(feed: Feed, number: Tensor, *values: Tensor) -> list[Tensor]:
                feed.rest.set_shape((size,))
                return self._one_step(feed, number, feed.rest, values)

            self._tails[size] = self._graphs(last)
        return self._tails[size]

    def _graphs(self, steps: Callable[..., list[Tensor]]) -> Graphs:
        fed = len(Feed._fields)
        return Graphs(lambda *tensors: steps(Feed(*tensors[:fed]), *tensors[fed:]))

    def _full_steps(self, feed: Feed, start: Tensor, stop: Tensor, *values: Tensor) -> list[Tensor]:
        def batch(number: Tensor) -> Tensor:
            index = tf.gather(feed.batches, number)
            index.set_shape((self.batch,))
            return index

        return self._many_steps(feed, batch, (start, stop), values)

    def _uneven_steps(
        self, feed: Feed, start: Tensor, stop: Tensor, *values: Tensor
    ) -> list[Tensor]:
        def batch(number: Tensor) -> Tensor:
            return feed.rest[number * self.batch : (number + 1) * self.batch]

        return self._many_steps(feed, batch, (start, stop), values)

    def _many_steps(
        self,
        feed: Feed,
        batch: Callable[[Tensor], Tensor],
        ends: tuple[Tensor, Tensor],
        values: Sequence[Tensor],
    ) -> list[Tensor]:
        def body(number: Tensor, *values: Tensor) -> list[Tensor]:
            return [number + 1, *self._one_step(feed, number, batch(number), values)]

        ended = tf.while_loop(lambda number, *_: number < ends[1], body, [ends[0], *values])
        return list(ended[1:])

    def _one_step(
        self, feed: Feed, number: Tensor, index: Tensor, values: Sequence[Tensor]
    ) -> list[Tensor]:
        loss_sum, correct, flat, *others = values
        slots, fixed = others[: self.rule.slot_count], others[self.rule.slot_count :]
        # An operation costs more than its arithmetic here, so shapes are told, not ensured.
        size = index.shape[0]
        rates = tuple(tf.unstack(tf.gather(feed.rates, number)))
        rows, labels = tf.gather(feed.features, index), tf.gather(feed.labels, index)
        if self.change is not None:
            seed = tf.random.experimental.stateless_fold_in(feed.seed, number)
            rows = self.change(rows, seed, feed.bounds)
            rows.set_shape((size, *feed.features.shape[1:]))
        row_weights = tf.gather(feed.weights, index) if self._settings.weighted else None
        parts = self.flat.tensors(flat)
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
        flat, *slots = self.rule.update(flat, joined, tuple(slots), rates)
        return [
            loss_sum + loss * (tf.cast(tf.shape(index)[0], tf.float32) if size is None else size),
            correct + correct_rows(labels, scores),
            self._constrained(flat),
            *slots,
            *(tf.convert_to_tensor(value) for value in fixed),
        ]

    def _constrained(self, flat: Tensor) -> Tensor:
        if not any(self._limits):
            return flat
        parts = [
            part if limit is None else limit(part)
            for part, limit in zip(self.flat.tensors(flat), self._limits, strict=True)
        ]
        return tf.concat([tf.reshape(part, [-1]) for part in parts], 0)

    def _score(self, x: Tensor, y: Tensor, flat: Tensor, *fixed: Tensor) -> list[Tensor]:
        scores, _, losses = self._model.stateless_call(
            self.flat.tensors(flat), list(fixed), x, training=False, return_losses=True
        )
        loss = self._loss(y, scores)
        for extra in losses:
            loss += extra
        return [loss, correct_rows(y, scores)]
