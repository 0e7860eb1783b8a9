"""The compiled training loop: many steps in one call of one graph, see `steps`.

A loop is traced once for an architecture and its settings and is used again by every run that
shares them; all that changes from run to run is `LoopState` and the data. Chunks of an epoch give
the same bits as the whole epoch, which progress, time limits and checkpoints rely on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from linnet_trainer.fit.inference import rows_at_once
from linnet_trainer.fit.loop_state import Array, EpochPlan, LoopState, Rows, Tensor
from linnet_trainer.fit.steps import Feed, LoopSettings, Steps

Look = Callable[[float], None]


class TrainingLoop:
    """Traced steps over one model.

    Attributes:
        firsts: Calls so far that were the first of their shapes, and so traced and made kernels.
        change: The augmentation of training rows, see `changes_for`; None for none.
    """

    def __init__(self, model: Any, settings: LoopSettings) -> None:
        self._model = model
        self._sequential = settings.sequential
        self._steps = Steps(model, settings)
        self.change = self._steps.change
        self._most_rows = rows_at_once(model)
        self._shapes_seen: set[tuple[Any, ...]] = set()
        self.firsts = 0

    def fresh_state(self, model: Any) -> LoopState:
        """Read the starting state of a newly built model of the loop's architecture."""
        return self.state_of(model.trainable_variables, model.non_trainable_variables)

    def state_of(self, trained: Sequence[Any], others: Sequence[Any]) -> LoopState:
        """Read a starting state of a model's variables, which stand in the loop's order."""
        weights = [v.numpy().ravel() for v in trained]
        flat = np.concatenate(weights) if weights else np.zeros(0, dtype=np.float32)
        slots = tuple(np.zeros_like(flat) for _ in range(self._steps.rule.slot_count))
        fixed = tuple(v.numpy().copy() for v in others)
        return LoopState(flat, slots, fixed)

    def put_weights(self, state: LoopState, model: Any) -> None:
        """Write a state's weights into a model of the loop's architecture."""
        for variable, value in zip(
            model.trainable_variables, self._steps.flat.arrays(state.weights), strict=True
        ):
            variable.assign(value)
        for variable, value in zip(model.non_trainable_variables, state.fixed, strict=True):
            variable.assign(value)

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
        batch = self._steps.batch
        full = len(epoch.order) // batch
        # Over batches of unequal sizes model.fit leaves the size open, which changes the last bit
        # of batch normalization's gradients; without normalization a known size is faster.
        uneven = self._steps.normalized and len(epoch.order) > full * batch
        if uneven:
            full = 0
        values = self._tensors(state)
        rates = self._steps.rule.rates(epoch.rates, state.step - start)
        feed = Feed(
            rows.features,
            rows.labels,
            rows.weights,
            rows.bounds,
            tf.constant(epoch.order[: full * batch].reshape(full, batch)),
            tf.constant(epoch.order[full * batch :]),
            tf.constant(np.stack(rates, axis=1)),
            tf.constant(epoch.seed),
        )
        shapes = (rows.features.shape, full, len(epoch.order))
        with self._executor():
            if uneven:
                self._note("uneven", shapes)
                ends = (tf.constant(start), tf.constant(stop))
                values = self._steps.uneven(shapes, [*feed, *ends, *values])
            elif start < min(stop, full):
                self._note("steps", shapes)
                ends = (tf.constant(start), tf.constant(min(stop, full)))
                values = self._steps.full(shapes, [*feed, *ends, *values])
            if not uneven and stop > full:
                self._note("tail", shapes)
                tail = self._steps.tail(len(epoch.order) - full * batch)
                values = tail(shapes, [*feed, tf.constant(full), *values])
        return self._state(values, state.step + stop - start)

    def kernels_were_dropped(self) -> None:
        """Take that TensorFlow makes its kernels anew, as after a change of its seed."""
        self._shapes_seen.clear()

    def _note(self, *call: Any) -> None:
        if call not in self._shapes_seen:
            self._shapes_seen.add(call)
            self.firsts += 1

    def _executor(self) -> AbstractContextManager[Any]:
        if not self._sequential:
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
                given = [part.features, part.labels, flat, *fixed]
                mean, right = self._steps.scores(part.features.shape, given)
            loss += float(mean) * part.count
            correct += float(right)
        return loss / rows.count, correct / rows.count

    def probabilities(self, state: LoopState, rows: Rows, look: Look | None = None) -> Array:
        """Give the class probabilities of rows in inference mode, float32, (n, classes)."""
        parts = self._steps.flat.tensors(tf.convert_to_tensor(state.weights))
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

    def _tensors(self, state: LoopState) -> Sequence[Tensor]:
        return [
            tf.constant(np.float32(state.loss_sum)),
            tf.constant(np.float32(state.correct)),
            *(tf.convert_to_tensor(a) for a in (state.weights, *state.slots, *state.fixed)),
        ]

    def _state(self, values: Sequence[Tensor], step: int) -> LoopState:
        loss_sum, correct, *arrays = (np.asarray(v) for v in values)
        slots = self._steps.rule.slot_count
        return LoopState(
            arrays[0],
            tuple(arrays[1 : 1 + slots]),
            tuple(arrays[1 + slots :]),
            step,
            float(loss_sum),
            float(correct),
        )
