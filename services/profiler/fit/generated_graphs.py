"""The graphs that `generate_models.py` converts: many operators, shapes and kinds of structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf
from generated_graph import FLOAT, I32, QUANTIZED, Graph, K, constant, keras, one, two
from generated_networks import NETWORKS

_UNARY: Final[dict[str, tuple[Callable[[Any], Any], tuple[str, ...], float]]] = {
    "abs": (tf.abs, QUANTIZED, -1.0),
    "ceil": (tf.math.ceil, FLOAT, -1.0),
    "cos": (tf.cos, FLOAT, -1.0),
    "sin": (tf.sin, FLOAT, -1.0),
    "elu": (tf.nn.elu, QUANTIZED, -1.0),
    "exp": (tf.exp, QUANTIZED, -1.0),
    "floor": (tf.floor, FLOAT, -1.0),
    "round": (tf.round, FLOAT, -1.0),
    "log": (tf.math.log, QUANTIZED, 0.1),
    "sqrt": (tf.sqrt, QUANTIZED, 0.1),
    "rsqrt": (tf.math.rsqrt, QUANTIZED, 0.1),
    "square": (tf.square, QUANTIZED, -1.0),
    "neg": (tf.negative, QUANTIZED, -1.0),
    "relu": (tf.nn.relu, QUANTIZED, -1.0),
    "relu6": (tf.nn.relu6, QUANTIZED, -1.0),
    "logistic": (tf.sigmoid, ("f32", "i8", "i16"), -1.0),
    "tanh": (tf.tanh, ("f32", "i8", "i16"), -1.0),
    "hard_swish": (tf.keras.activations.hard_silu, QUANTIZED, -4.0),
    "leaky_relu": (lambda x: tf.nn.leaky_relu(x, 0.1), ("f32", "i8", "i16"), -1.0),
    "gelu": (tf.nn.gelu, QUANTIZED, -1.0),
    "softmax": (tf.nn.softmax, ("f32", "i8", "i16"), -1.0),
    "log_softmax": (tf.nn.log_softmax, QUANTIZED, -1.0),
    "l2_normalization": (lambda x: tf.nn.l2_normalize(x, axis=-1), QUANTIZED, -1.0),
    "arg_max": (lambda x: tf.argmax(x, axis=-1, output_type=I32), QUANTIZED, -1.0),
    "arg_min": (lambda x: tf.argmin(x, axis=-1, output_type=I32), FLOAT, -1.0),
    "cumsum": (lambda x: tf.cumsum(x, axis=1), QUANTIZED, -1.0),
    "expand_dims": (lambda x: tf.expand_dims(x, 1), QUANTIZED, -1.0),
    "cast": (lambda x: tf.cast(x, I32), FLOAT, -1.0),
    "zeros_like": (lambda x: tf.zeros_like(x) + x, FLOAT, -1.0),
    "shape": (tf.shape, FLOAT, -1.0),
    "reverse": (lambda x: tf.reverse(x, [1]), FLOAT, -1.0),
    "mirror_pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [1, 1]], "REFLECT"), QUANTIZED, -1.0),
    "pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]]), ("f32", "i8", "i16"), -1.0),
    "pad_v2": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=0.5), QUANTIZED, -1.0),
    "mean": (lambda x: tf.reduce_mean(x, [1]), ("f32", "i8", "i16"), -1.0),
    "mean_all": (lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), QUANTIZED, -1.0),
    "sum": (lambda x: tf.reduce_sum(x, [1]), QUANTIZED, -1.0),
    "reduce_max": (lambda x: tf.reduce_max(x, [1]), QUANTIZED, -1.0),
    "reduce_min": (lambda x: tf.reduce_min(x, [2]), QUANTIZED, -1.0),
    "reduce_all": (lambda x: tf.reduce_all(x > 0, [1]), FLOAT, -1.0),
    "gather": (lambda x: tf.gather(x, [0, 2], axis=1), QUANTIZED, -1.0),
    "gather_nd": (lambda x: tf.gather_nd(x, [[0, 1], [0, 3]]), QUANTIZED, -1.0),
    "pack": (lambda x: tf.stack([x, x + 1.0], axis=1), QUANTIZED, -1.0),
    "unpack": (lambda x: tuple(tf.unstack(x, axis=1)), QUANTIZED, -1.0),
    "split": (lambda x: tuple(tf.split(x, 2, axis=2)), QUANTIZED, -1.0),
    "split_v": (lambda x: tuple(tf.split(x, [1, 5], axis=2)), QUANTIZED, -1.0),
    "slice": (lambda x: tf.slice(x, [0, 1, 0], [1, 3, 4]), QUANTIZED, -1.0),
    "strided_slice": (lambda x: x[:, ::2, 1:], ("f32", "i8", "i16"), -1.0),
    "transpose": (lambda x: tf.transpose(x, [0, 2, 1]), ("f32", "i8", "i16"), -1.0),
    "reshape": (lambda x: tf.reshape(x, [1, -1]), QUANTIZED, -1.0),
    "squeeze": (lambda x: tf.squeeze(x, [0]), QUANTIZED, -1.0),
    "fill": (lambda x: x + tf.fill(tf.shape(x)[:2], 2.0)[..., None], FLOAT, -1.0),
    "broadcast_to": (lambda x: tf.broadcast_to(x[:, :1], [1, 5, 6]), FLOAT, -1.0),
    "tile": (lambda x: tf.tile(x, [1, 2, 1]), QUANTIZED, -1.0),
    "select": (lambda x: tf.where(x > 0.0, x, tf.zeros_like(x)), QUANTIZED, -1.0),
    "select_broadcast": (lambda x: tf.where(x[:, :1] > 0.0, x, x * 2.0), QUANTIZED, -1.0),
    "prelu": (lambda x: tf.maximum(x, 0.0) + constant(6) * tf.minimum(x, 0.0), FLOAT, -1.0),
    "topk": (lambda x: tf.math.top_k(x, 2).values, FLOAT, -1.0),
    "one_hot": (lambda x: tf.one_hot(tf.cast(x[:, 0], I32), 4), FLOAT, -1.0),
    "less": (lambda x: x < 0.5, QUANTIZED, -1.0),
    "comparisons": (
        lambda x: tf.logical_or(
            tf.logical_and(tf.less_equal(x, 0.5), tf.greater_equal(x, -0.5)),
            tf.logical_not(tf.equal(x, 0.25)),
        ),
        FLOAT,
        -1.0,
    ),
    "not_equal": (lambda x: tf.not_equal(x, 0.25), QUANTIZED, -1.0),
    "dynamic_update": (
        lambda x: tf.tensor_scatter_nd_update(x, [[0, 1]], constant(1, 6)),
        FLOAT,
        -1.0,
    ),
}

_BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": tf.add,
    "sub": tf.subtract,
    "mul": tf.multiply,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "squared_difference": tf.math.squared_difference,
    "div": tf.divide,
    "floor_div": tf.math.floordiv,
    "floor_mod": tf.math.floormod,
    "greater": tf.greater,
}


def _convolution(**fields: Any) -> Callable[[], list[Any]]:
    return lambda: [K.Conv2D(**fields)]


def _depthwise(**fields: Any) -> Callable[[], list[Any]]:
    return lambda: [K.DepthwiseConv2D(**fields)]


_CONVOLUTIONS: Final = {
    "conv_1x1": (_convolution(filters=5, kernel_size=1), (6, 7, 3)),
    "conv_1x1_stride2": (_convolution(filters=4, kernel_size=1, strides=2), (9, 6, 4)),
    "conv_1x1_same_image": (_convolution(filters=8, kernel_size=3, padding="same"), (1, 1, 8)),
    "conv_large_kernel": (_convolution(filters=3, kernel_size=(11, 9)), (14, 12, 2)),
    "conv_stride_over_kernel": (_convolution(filters=4, kernel_size=2, strides=5), (16, 17, 3)),
    "conv_dilated": (_convolution(filters=4, kernel_size=3, dilation_rate=3), (17, 15, 4)),
    "conv_dilated_same": (
        _convolution(filters=6, kernel_size=3, dilation_rate=2, padding="same"),
        (12, 9, 5),
    ),
    "conv_grouped": (_convolution(filters=8, kernel_size=3, groups=2), (8, 8, 4)),
    "conv_wide": (_convolution(filters=7, kernel_size=(1, 5), padding="same"), (1, 33, 5)),
    "conv_tall": (_convolution(filters=7, kernel_size=(5, 1), strides=(2, 1)), (20, 3, 5)),
    "conv_no_bias": (_convolution(filters=6, kernel_size=3, use_bias=False), (7, 7, 3)),
    "conv_relu6": (_convolution(filters=6, kernel_size=3, activation="relu6"), (7, 7, 3)),
    "conv_tanh": (_convolution(filters=6, kernel_size=3, activation="tanh"), (7, 7, 3)),
    "depthwise": (_depthwise(kernel_size=3, padding="same"), (9, 9, 5)),
    "depthwise_multiplier": (_depthwise(kernel_size=3, depth_multiplier=3), (9, 8, 4)),
    "depthwise_one_channel": (_depthwise(kernel_size=5, depth_multiplier=12), (11, 10, 1)),
    "depthwise_dilated": (_depthwise(kernel_size=3, dilation_rate=2), (12, 12, 6)),
    "depthwise_5x5": (_depthwise(kernel_size=5, strides=2, padding="same"), (15, 13, 16)),
    "depthwise_1xn": (_depthwise(kernel_size=(1, 7), padding="same"), (1, 40, 12)),
    "separable": (lambda: [K.SeparableConv2D(6, 3, padding="same")], (10, 10, 4)),
    "conv_transpose": (lambda: [K.Conv2DTranspose(5, 3, strides=2, padding="same")], (6, 5, 4)),
    "conv_transpose_valid": (lambda: [K.Conv2DTranspose(3, 4, strides=3)], (4, 5, 20)),
    "max_pool": (lambda: [K.MaxPool2D(3, 2, padding="same")], (11, 9, 5)),
    "average_pool": (lambda: [K.AveragePooling2D(2, padding="same")], (11, 9, 5)),
    "global_average": (lambda: [K.GlobalAveragePooling2D()], (6, 7, 5)),
    "up_sampling": (lambda: [K.UpSampling2D(2)], (4, 5, 3)),
    "up_sampling_bilinear": (lambda: [K.UpSampling2D(2, interpolation="bilinear")], (4, 5, 3)),
    "zero_padding": (lambda: [K.ZeroPadding2D(((1, 2), (0, 3)))], (4, 5, 3)),
    "cropping": (lambda: [K.Cropping2D(1)], (6, 6, 3)),
    "depth_to_space": (lambda: [K.Lambda(lambda x: tf.nn.depth_to_space(x, 2))], (4, 4, 8)),
    "space_to_depth": (lambda: [K.Lambda(lambda x: tf.nn.space_to_depth(x, 2))], (4, 4, 3)),
    "space_to_batch": (
        lambda: [K.Lambda(lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]))],
        (4, 4, 3),
    ),
    "batch_to_space": (
        lambda: [
            K.Lambda(
                lambda x: tf.batch_to_space(tf.reshape(x, [4, 2, 2, 3]), [2, 2], [[0, 0], [0, 0]])
            )
        ],
        (4, 4, 3),
    ),
}


GRAPHS: Final[dict[str, Callable[[], Graph]]] = {
    **{
        f"unary_{name}": one(compute, 1, 4, 6, variants=variants, low=low)
        for name, (compute, variants, low) in _UNARY.items()
    },
    **{
        f"binary_{name}": two(
            compute,
            (1, 4, 6),
            (1, 4, 6),
            variants=FLOAT if name.startswith("floor") else QUANTIZED,
            low=0.2,
        )
        for name, compute in _BINARY.items()
    },
    **{
        f"broadcast_{name}": two(_BINARY[name], (1, 3, 4, 6), (1, 1, 1, 6), low=0.2)
        for name in ("add", "sub", "mul", "maximum", "squared_difference", "greater")
    },
    **{
        name: keras(layers, *shape, variants=("f32", "i8", "i16"))
        for name, (layers, shape) in _CONVOLUTIONS.items()
    },
    **NETWORKS,
}
