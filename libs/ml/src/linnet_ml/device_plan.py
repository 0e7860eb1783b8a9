"""The network as the device computes it: one operator after the other, nothing that only trains.

Knows numpy only. The exporter makes a TensorFlow graph of it, the profiler an estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from linnet_ml.spec import Activation, Padding

Shape = tuple[int, ...]
Array = NDArray[np.float32]
Weights = Sequence[tuple[Array, ...]]
Recipe = Callable[[Weights], tuple[Array, ...]]

INPUT = -1
"""Stands for the model's input among the operators."""


class OpKind(Enum):
    """What an operator does."""

    CONV = "conv"
    DEPTHWISE = "depthwise"
    DENSE = "dense"
    MAX_POOL = "max_pool"
    AVERAGE_POOL = "average_pool"
    AFFINE = "affine"
    ADD = "add"
    ACTIVATION = "activation"
    RESHAPE = "reshape"
    SOFTMAX = "softmax"


@dataclass(frozen=True, slots=True)
class DeviceOp:
    """One operator.

    Attributes:
        kind: What it does.
        source: Index of the operator whose output it reads; -1 for the input.
        shape: Shape of the result, without the batch.
        other: The second operand of an addition.
        window: Kernel or pool window, (height, width).
        strides: Steps of it.
        padding: Edges of it.
        activation: Applied to the result.
        arrays: Shapes of its arrays: kernel and bias, or factor and shift.
    """

    kind: OpKind
    source: int
    shape: Shape
    other: int = INPUT
    window: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.LINEAR
    arrays: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Operators in order, and where their arrays come from.

    Attributes:
        input_shape: Shape of the exported model's input, batch included.
        ops: The operators; the last is the softmax.
        recipes: For each operator with arrays, in order, how they follow from the model's weights.
    """

    input_shape: Shape
    ops: tuple[DeviceOp, ...]
    recipes: tuple[Recipe, ...]

    def arrays(self, weights: Weights) -> tuple[tuple[Array, ...], ...]:
        """Compute the arrays of each operator that has any, float32, C order.

        Args:
            weights: Arrays of every Keras layer with weights, see `models.BuiltModel.weights`.
        """
        return tuple(
            tuple(np.ascontiguousarray(a, dtype=np.float32) for a in recipe(weights))
            for recipe in self.recipes
        )

    def key(self) -> str:
        """Give a text that is equal for plans with equal graphs."""
        return repr((self.input_shape, self.ops))
