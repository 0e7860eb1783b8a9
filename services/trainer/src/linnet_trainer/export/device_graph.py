"""Makes a TensorFlow graph of a device plan, with its arrays as constants."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from linnet_ml.device_plan import Array, DeviceOp, DevicePlan, OpKind
from linnet_ml.spec import Activation, Padding

LEAKY_SLOPE = 0.3

_ACTIVATIONS: dict[Activation, Callable[[Any], Any]] = {
    Activation.RELU: tf.nn.relu,
    Activation.RELU6: tf.nn.relu6,
    Activation.TANH: tf.nn.tanh,
    Activation.SIGMOID: tf.nn.sigmoid,
    Activation.LEAKY_RELU: lambda x: tf.nn.leaky_relu(x, LEAKY_SLOPE),
    # In this form the converter makes one HARD_SWISH of it.
    Activation.HARD_SWISH: lambda x: x * (tf.nn.relu6(x + 3.0) * np.float32(1.0 / 6.0)),
}
_PADDING = {Padding.SAME: "SAME", Padding.VALID: "VALID"}


def concrete_function(plan: DevicePlan, arrays: Sequence[tuple[Array, ...]]) -> Any:
    """Trace the plan at batch 1; no variables, so nothing is left to freeze."""

    def forward(features: Any) -> Any:
        values: list[Any] = []
        remaining = iter(arrays)
        for op in plan.ops:
            source = features if op.source < 0 else values[op.source]
            own = next(remaining) if op.arrays else ()
            result = _apply(op, source, own, features, values)
            if op.activation is not Activation.LINEAR:
                result = _ACTIVATIONS[op.activation](result)
            values.append(result)
        return values[-1]

    signature = [tf.TensorSpec(plan.input_shape, tf.float32, name="features")]
    function = tf.function(forward, input_signature=signature, autograph=False)
    return function.get_concrete_function()


def _apply(
    op: DeviceOp, source: Any, arrays: tuple[Array, ...], features: Any, values: list[Any]
) -> Any:
    operands = _Operands(source, arrays, features if op.other < 0 else values[op.other])
    make = _OPERATORS.get(op.kind)
    return source if make is None else make(op, operands)


class _Operands(NamedTuple):
    source: Any
    arrays: tuple[Array, ...]
    other: Any


def _conv(op: DeviceOp, x: _Operands) -> Any:
    made = tf.nn.conv2d(x.source, x.arrays[0], (1, *op.strides, 1), _PADDING[op.padding])
    return made + x.arrays[1]


def _depthwise(op: DeviceOp, x: _Operands) -> Any:
    # The graph's operator wants equal strides; along a height of 1 both are the same.
    strides = (1, op.strides[1], op.strides[1], 1)
    made = tf.nn.depthwise_conv2d(x.source, x.arrays[0], strides, _PADDING[op.padding])
    return made + x.arrays[1]


def _max_pool(op: DeviceOp, x: _Operands) -> Any:
    return tf.nn.max_pool2d(x.source, op.window, op.strides, _PADDING[op.padding])


def _average_pool(op: DeviceOp, x: _Operands) -> Any:
    return tf.nn.avg_pool2d(x.source, op.window, op.strides, _PADDING[op.padding])


_OPERATORS: dict[OpKind, Callable[[DeviceOp, _Operands], Any]] = {
    OpKind.CONV: _conv,
    OpKind.DEPTHWISE: _depthwise,
    OpKind.DENSE: lambda _op, x: tf.matmul(x.source, x.arrays[0]) + x.arrays[1],
    OpKind.MAX_POOL: _max_pool,
    OpKind.AVERAGE_POOL: _average_pool,
    OpKind.AFFINE: lambda _op, x: x.source * x.arrays[0] + x.arrays[1],
    OpKind.ADD: lambda _op, x: x.source + x.other,
    OpKind.RESHAPE: lambda op, x: tf.reshape(x.source, (1, *op.shape)),
    OpKind.SOFTMAX: lambda _op, x: tf.nn.softmax(x.source),
}
"""An activation of its own passes its source on; the caller activates it."""
