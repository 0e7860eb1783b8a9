"""Functions of tensors as graphs that are called without a detour."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import tensorflow as tf

from linnet_trainer.fit.loop_state import Tensor


class Graphs:
    """A function of tensors, traced at the first call of its shapes.

    A call goes straight to what was traced. `tf.function` binds and compares every argument before:
    that takes a millisecond, as long as five steps of a small network.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Take a function of tensors, each an argument of its own, that gives a list of them."""
        self._function = tf.function(function, autograph=False, reduce_retracing=True)
        self._traced: dict[Hashable, Any] = {}

    def __call__(self, shapes: Hashable, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Call it.

        Args:
            shapes: What tells the shapes of these tensors from others that it is called with.
            tensors: All arguments.

        Returns:
            What the function gives.
        """
        traced = self._traced.get(shapes)
        if traced is None:
            traced = self._traced[shapes] = self._function.get_concrete_function(*tensors)
        outputs: Sequence[Tensor] = traced.inference_fn.call_flat(*tensors, *traced.captured_inputs)
        return outputs
