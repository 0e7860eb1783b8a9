"""What a graph to convert is, and short ways to write one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import tensorflow as tf

F32: Final = tf.float32
I32: Final = tf.int32
Shape = tuple[int | None, ...]
QUANTIZED: Final = ("f32", "i8")
FLOAT: Final = ("f32",)


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph to convert.

    Attributes:
        compute: Its function of tensors.
        inputs: Shape and type of each input.
        variants: What to convert it to.
        low: Lower end of the values that calibrate the int8 ranges.
        float_io: The quantized variants keep float inputs and outputs.
        holder: What holds the variables, if any; a Keras network is converted as such.
        frozen: Variables become constants; otherwise resource variables.
    """

    compute: Callable[..., Any]
    inputs: tuple[tuple[Shape, tf.DType], ...]
    variants: tuple[str, ...] = QUANTIZED
    low: float = -1.0
    float_io: bool = False
    holder: Any = field(default_factory=tf.Module)
    frozen: bool = True


def constant(*shape: int, seed: int = 1) -> Any:
    """Random values between -1 and 1."""
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), F32)


def one(compute: Callable[..., Any], *shape: int | None, **fields: Any) -> Callable[[], Graph]:
    """A graph with one float input."""
    return lambda: Graph(compute, ((shape, F32),), **fields)


def two(
    compute: Callable[..., Any], left: Shape, right: Shape, **fields: Any
) -> Callable[[], Graph]:
    """A graph with two float inputs."""
    return lambda: Graph(compute, ((left, F32), (right, F32)), **fields)


def keras(layers: Callable[[], list[Any]], *shape: int, **fields: Any) -> Callable[[], Graph]:
    """A Keras network of layers, for one row of a shape."""

    def make() -> Graph:
        network = tf.keras.Sequential([tf.keras.Input(shape, batch_size=1), *layers()])
        return Graph(
            lambda x: network(x, training=False), (((1, *shape), F32),), holder=network, **fields
        )

    return make


K: Final = tf.keras.layers
ALL: Final = ("f32", "i8", "i16", "f16", "dyn")
