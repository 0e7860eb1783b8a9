"""What goes into a training loop and comes out of it, from epoch to epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

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
class Rows:
    """Rows on the way into the graph.

    Attributes:
        features: float32, shape (n, ...).
        labels: int32, shape (n,).
        weights: float32, shape (n,).
        bounds: Lowest and highest value of all features, of a part those of the whole.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor
    bounds: Tensor

    @classmethod
    def of(cls, features: Array, labels: Array, weights: Array | None = None) -> "Rows":
        """Hand arrays to TensorFlow: float32 features, int32 labels, float32 weights."""
        if weights is None:
            weights = np.ones(len(labels), dtype=np.float32)
        return cls(
            tf.convert_to_tensor(np.ascontiguousarray(features, dtype=np.float32)),
            tf.convert_to_tensor(labels.astype(np.int32)),
            tf.convert_to_tensor(weights.astype(np.float32)),
            tf.constant([np.min(features), np.max(features)], tf.float32),
        )

    def part(self, start: int, stop: int) -> "Rows":
        """Give the rows from `start` to `stop`."""
        place = slice(start, stop)
        parts = (self.features[place], self.labels[place], self.weights[place])
        return Rows(*parts, self.bounds)

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
