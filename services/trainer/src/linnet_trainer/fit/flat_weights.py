"""The weights of a model as one vector, and apart again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from linnet_trainer.fit.loop_state import Array, Tensor


@dataclass(frozen=True, slots=True)
class FlatWeights:
    """Where the variables of a model lie in the vector of all its trainable weights.

    Attributes:
        shapes: Of each variable, in order.
        sizes: Its numbers.
    """

    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, model: Any) -> "FlatWeights":
        """Read the shapes of a model's trainable variables."""
        shapes = tuple(tuple(v.shape) for v in model.trainable_variables)
        return cls(shapes, tuple(int(np.prod(shape)) for shape in shapes))

    def tensors(self, flat: Tensor) -> list[Tensor]:
        """Take a vector apart inside a graph."""
        pieces = tf.split(flat, self.sizes)
        return [tf.reshape(p, s) for p, s in zip(pieces, self.shapes, strict=True)]

    def arrays(self, flat: Array) -> list[Array]:
        """Take a vector apart in numpy."""
        parts = np.split(flat, np.cumsum(self.sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
