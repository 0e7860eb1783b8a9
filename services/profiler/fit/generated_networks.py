"""Whole networks and structures that `generate_models.py` converts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import tensorflow as tf
from generated_graph import ALL, F32, FLOAT, I32, QUANTIZED, Graph, K, constant, keras, one, two


def _dense() -> list[Any]:
    return [K.Dense(20, "relu"), K.Dense(7, "tanh"), K.Dense(3, "softmax")]


def _image() -> list[Any]:
    return [
        K.Conv2D(4, 3, padding="same", activation="relu"),
        K.MaxPool2D(),
        K.BatchNormalization(),
        K.DepthwiseConv2D(3, padding="same"),
        K.BatchNormalization(),
        K.ReLU(6.0),
        K.Conv2D(6, 1, activation="relu"),
        K.GlobalAveragePooling2D(),
        K.Dense(4, "softmax"),
    ]


def _line() -> list[Any]:
    return [
        K.Conv1D(6, 5, padding="same", activation="relu"),
        K.MaxPool1D(),
        K.Conv1D(8, 3, dilation_rate=2, activation="relu"),
        K.SeparableConv1D(8, 3, activation="relu"),
        K.Flatten(),
        K.Dense(5),
    ]


def _residual() -> Graph:
    entry = tf.keras.Input((12, 10, 3), batch_size=1)
    left = K.Conv2D(6, 3, 2, padding="same", activation="relu")(entry)
    right = K.Conv2D(6, 1, 2, padding="same")(entry)
    both = K.ReLU()(K.Add()([left, right]))
    joined = K.Concatenate()([both, K.AveragePooling2D(2, 1, padding="same")(both)])
    network = tf.keras.Model(entry, K.Dense(3)(K.Flatten()(joined)))
    return Graph(
        lambda x: network(x, training=False), (((1, 12, 10, 3), F32),), ALL, holder=network
    )


def _two_heads() -> Graph:
    left = tf.keras.Input((9,), batch_size=1)
    right = tf.keras.Input((4, 5), batch_size=1)
    joined = K.Concatenate()([K.Dense(6, "relu")(left), K.Flatten()(right)])
    network = tf.keras.Model([left, right], [K.Dense(2, "softmax")(joined), K.Dense(1)(joined)])
    inputs = (((1, 9), F32), ((1, 4, 5), F32))
    return Graph(lambda a, b: network([a, b], training=False), inputs, ALL, holder=network)


def _squeeze_and_excite() -> Graph:
    entry = tf.keras.Input((8, 8, 8), batch_size=1)
    small = K.Dense(8, "sigmoid")(
        K.Dense(2, "relu")(K.GlobalAveragePooling2D(keepdims=True)(entry))
    )
    network = tf.keras.Model(entry, K.Multiply()([entry, small]))
    return Graph(lambda x: network(x, training=False), (((1, 8, 8, 8), F32),), ALL, holder=network)


def _loop() -> Graph:
    def compute(x: Any) -> Any:
        return tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 0.5), [0, x])[1]

    return Graph(compute, (((1, 6), F32),), FLOAT)


def _branch() -> Graph:
    def compute(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: tf.nn.relu(x) + 1.0)

    return Graph(compute, (((1, 6), F32),), FLOAT)


def _assigned() -> Graph:
    holder = tf.Module()
    holder.state = tf.Variable(tf.zeros((1, 6)))

    def compute(x: Any) -> Any:
        return holder.state.assign_add(x) * 2.0

    return Graph(compute, (((1, 6), F32),), FLOAT, holder=holder, frozen=False)


def _unrolled(kind: str) -> Callable[[], Graph]:
    return keras(lambda: [getattr(K, kind)(6, unroll=True), K.Dense(2)], 5, 3, variants=QUANTIZED)


def _looped(kind: str) -> Callable[[], Graph]:
    return keras(lambda: [getattr(K, kind)(6), K.Dense(2)], 5, 3, variants=("f32",))


def _attention(x: Any) -> Any:
    return tf.matmul(tf.nn.softmax(x @ tf.transpose(x, [0, 2, 1])), x)


NETWORKS: Final[dict[str, Callable[[], Graph]]] = {
    "dense": keras(_dense, 13, variants=ALL),
    "dense_float_io": keras(_dense, 13, variants=("i8", "i16"), float_io=True),
    "dense_one_unit": keras(lambda: [K.Dense(1, use_bias=False)], 1, variants=ALL),
    "dense_rank3": keras(lambda: [K.Dense(5, "relu")], 4, 6, variants=ALL),
    "image": keras(_image, 16, 16, 1, variants=ALL),
    "line": keras(_line, 40, 3, variants=ALL),
    "residual": _residual,
    "two_heads": _two_heads,
    "squeeze_and_excite": _squeeze_and_excite,
    "attention": keras(
        lambda: [K.Lambda(lambda x: tf.matmul(tf.nn.softmax(x @ tf.transpose(x, [0, 2, 1])), x))],
        6,
        4,
        variants=QUANTIZED,
    ),
    "layer_normalization": keras(lambda: [K.LayerNormalization()], 5, 8, variants=QUANTIZED),
    "while_loop": _loop,
    "cond": _branch,
    "lstm_unrolled": _unrolled("LSTM"),
    "gru_unrolled": _unrolled("GRU"),
    "lstm_loop": _looped("LSTM"),
    "prelu_layer": keras(lambda: [K.PReLU(shared_axes=[1, 2])], 5, 6, 4, variants=QUANTIZED),
    "open_batch": lambda: Graph(
        lambda x: tf.nn.relu(x @ constant(6, 4)), (((None, 6), F32),), QUANTIZED
    ),
    "kept_variables": lambda: replace(keras(_dense, 13, variants=FLOAT)(), frozen=False),
    "kept_variables_image": lambda: replace(
        keras(_image, 16, 16, 1, variants=FLOAT)(), frozen=False
    ),
    "kept_variables_two_heads": lambda: replace(_two_heads(), variants=FLOAT, frozen=False),
    "kept_variables_loop": lambda: replace(_looped("LSTM")(), frozen=False),
    "kept_variables_transposed": lambda: replace(
        keras(lambda: [K.Conv2DTranspose(5, 3, strides=2)], 6, 5, 4, variants=FLOAT)(),
        frozen=False,
    ),
    "assigned_variable": _assigned,
    "embedding": lambda: Graph(
        lambda ids: tf.nn.embedding_lookup(constant(9, 4), ids), (((1, 5), I32),), FLOAT
    ),
    "unused_input": lambda: Graph(lambda a, _: a + 1.0, (((1, 5), F32), ((1, 3), F32)), QUANTIZED),
    "input_is_output": lambda: Graph(lambda a: (a + 1.0, a), (((1, 5), F32),), QUANTIZED),
    "matmul_adjoint": two(lambda a, b: tf.matmul(a, b, transpose_b=True), (2, 3, 4), (2, 5, 4)),
    "matmul_plain": two(tf.matmul, (1, 3, 4), (1, 4, 5)),
    "matmul_constant": one(lambda x: tf.matmul(x, constant(2, 4, 5)), 2, 3, 4),
    "add_n": lambda: Graph(lambda a, b, c: tf.add_n([a, b, c]), (((1, 4, 6), F32),) * 3, QUANTIZED),
    "concatenation": lambda: Graph(
        lambda a, b, c: tf.concat([a, b, c], 2), (((1, 4, 6), F32),) * 3, ("f32", "i8", "i16")
    ),
    "integers": lambda: Graph(
        lambda a, b: tf.maximum(a * b, a - b), (((1, 4), I32), ((1, 4), I32)), FLOAT
    ),
}
