"""Layer list to Keras model, and its weights by layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from linnet_ml.device_weights import BATCH_NORM_EPSILON
from linnet_ml.spec import Activation, Layer, LayerKind, LayerList, Padding, Pooling
from numpy.typing import NDArray

from linnet_trainer.pointwise import avoid_strides

Weights = tuple[NDArray[np.float32], ...]

LEAKY_SLOPE = 0.3
"""What the contract says of LEAKY_RELU, Keras' default of the layer."""

_FUSED = {
    Activation.LINEAR: None,
    Activation.RELU: "relu",
    Activation.RELU6: "relu6",
    Activation.TANH: "tanh",
    Activation.SIGMOID: "sigmoid",
}
_PADDING = {Padding.SAME: "same", Padding.VALID: "valid"}
_POOLS = {
    # by whether it takes the largest value, and whether it has two axes
    (True, True): keras.layers.MaxPool2D,
    (True, False): keras.layers.MaxPool1D,
    (False, True): keras.layers.AveragePooling2D,
    (False, False): keras.layers.AveragePooling1D,
}


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A Keras model and the layers that hold weights, in the order of the layer list.

    Attributes:
        model: From rows, float32, shape (n, *input_shape), to class probabilities, (n, classes).
        made: All Keras layers, in the order in which they drew from the random state.
        weighted: Those with weights; `device_ops.plan` reads their arrays in this order.
    """

    model: Any
    made: tuple[Any, ...]
    weighted: tuple[Any, ...]

    def weights(self) -> tuple[Weights, ...]:
        """Read the arrays of every layer with weights, as Keras orders them within a layer."""
        return tuple(
            tuple(np.asarray(array) for array in layer.get_weights()) for layer in self.weighted
        )


class _Builder:
    def __init__(self, inputs: Any) -> None:
        self.made: list[Any] = []
        self.known: dict[str, Any] = {"input": inputs}

    def add(self, layer: Any, value: Any) -> Any:
        self.made.append(layer)
        return layer(value)

    def activate(self, activation: Activation, value: Any) -> Any:
        if activation is Activation.LEAKY_RELU:
            return self.add(keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE), value)
        if activation is Activation.HARD_SWISH:
            return self.add(keras.layers.Activation("hard_silu"), value)
        return self.add(keras.layers.Activation(_FUSED[activation]), value)

    def fused(self, make: Callable[..., Any], layer: Layer, value: Any, **settings: Any) -> Any:
        """Add a layer with its activation inside where Keras has it by name."""
        inside = layer.activation in _FUSED
        settings["activation"] = _FUSED[layer.activation] if inside else None
        value = self.add(make(use_bias=not layer.no_bias, **settings), value)
        return value if inside else self.activate(layer.activation, value)


def build(layers: LayerList, input_shape: tuple[int, ...], class_count: int) -> BuiltModel:
    """Build the Keras model of a layer list whose shapes `linnet_ml.layers.infer` accepts.

    Args:
        layers: Enabled layers with their defaults filled in, see `linnet_ml.defaults.layers_of`.
        input_shape: Shape of one row.
        class_count: Units of the output.

    Returns:
        A model with fresh weights, drawn from Keras' global random state.
    """
    value = inputs = keras.Input(input_shape, name="features")
    builder = _Builder(inputs)
    for layer in layers.layers:
        value = _LAYERS[layer.kind](builder, layer, value)
        if layer.id:
            builder.known[layer.id] = value
    dense = keras.layers.Dense(class_count, activation="softmax")
    output = builder.add(dense, _flat(builder, value))
    weighted = tuple(layer for layer in builder.made if layer.weights)
    model = keras.Model(inputs, output)
    avoid_strides(model)
    return BuiltModel(model, tuple(builder.made), weighted)


def redraw(built: BuiltModel) -> None:
    """Give a built model the values that building it anew would draw, in a fifth of the time."""
    for layer in built.made:
        for variable in layer.variables:
            variable.assign(_fresh(variable))


def _fresh(variable: Any) -> Any:
    """Draw a layer's variable as Keras does while it makes the layer."""
    if variable.name.endswith("kernel"):
        return keras.initializers.GlorotUniform()(variable.shape)
    if variable.name == "seed_generator_state":
        # A generator draws its seed as an initializer does.
        return np.array([keras.initializers.GlorotUniform().seed, 0], np.uint32)
    ones = variable.name in {"gamma", "moving_variance"}
    return np.full(variable.shape, 1.0 if ones else 0.0, np.float32)


def _flat(builder: _Builder, value: Any) -> Any:
    if len(value.shape) > len(("n", "features")):
        return builder.add(keras.layers.Flatten(), value)
    return value


def _is_grid(value: Any) -> bool:
    return len(value.shape) == len(("n", "height", "width", "channels"))


def _size(layer: Layer, value: Any) -> int | tuple[int, int]:
    if _is_grid(value):
        return (layer.kernel_size, layer.kernel_width or layer.kernel_size)
    return layer.kernel_size


def _dense(builder: _Builder, layer: Layer, value: Any) -> Any:
    regularizer = None
    if layer.activity_l1:
        regularizer = keras.regularizers.L1(layer.activity_l1)
        # As a plain number it is a constant of the traced loop, as Keras' tensor an input.
        regularizer.l1 = layer.activity_l1
    return builder.fused(
        keras.layers.Dense,
        layer,
        _flat(builder, value),
        units=layer.units,
        activity_regularizer=regularizer,
    )


def _conv(builder: _Builder, layer: Layer, value: Any) -> Any:
    make = keras.layers.Conv2D if _is_grid(value) else keras.layers.Conv1D
    for _ in range(layer.stack):
        limit = layer.kernel_max_norm
        value = builder.fused(
            make,
            layer,
            value,
            filters=layer.units,
            kernel_size=_size(layer, value),
            strides=layer.stride,
            padding=_PADDING[layer.padding],
            kernel_constraint=keras.constraints.MaxNorm(limit) if limit else None,
        )
    if layer.pooling is Pooling.NONE:
        return value
    two, is_max = _is_grid(value), layer.pooling is Pooling.MAX
    pool = _POOLS[is_max, two](layer.pool_size, layer.pool_size, _PADDING[layer.padding])
    return builder.add(pool, value)


def _pool(builder: _Builder, layer: Layer, value: Any) -> Any:
    make = _POOLS[layer.kind is LayerKind.MAX_POOL, _is_grid(value)]
    return builder.add(make(_size(layer, value), layer.stride, _PADDING[layer.padding]), value)


def _depthwise(builder: _Builder, layer: Layer, value: Any) -> Any:
    two = _is_grid(value)
    return builder.fused(
        keras.layers.DepthwiseConv2D if two else keras.layers.DepthwiseConv1D,
        layer,
        value,
        kernel_size=_size(layer, value),
        strides=layer.stride,
        padding=_PADDING[layer.padding],
        depth_multiplier=layer.depth_multiplier,
    )


def _separable(builder: _Builder, layer: Layer, value: Any) -> Any:
    two = _is_grid(value)
    return builder.fused(
        keras.layers.SeparableConv2D if two else keras.layers.SeparableConv1D,
        layer,
        value,
        filters=layer.units,
        kernel_size=_size(layer, value),
        strides=layer.stride,
        padding=_PADDING[layer.padding],
        depth_multiplier=layer.depth_multiplier,
    )


def _global_pool(builder: _Builder, _layer: Layer, value: Any) -> Any:
    if _is_grid(value):
        return builder.add(keras.layers.GlobalAveragePooling2D(), value)
    return builder.add(keras.layers.GlobalAveragePooling1D(), value)


def _normalization(builder: _Builder, _layer: Layer, value: Any) -> Any:
    return builder.add(keras.layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON), value)


def _reshape(builder: _Builder, layer: Layer, value: Any) -> Any:
    tail = (layer.columns, layer.channels) if layer.channels else (layer.columns,)
    return builder.add(keras.layers.Reshape((-1, *tail)), value)


def _residual(builder: _Builder, layer: Layer, value: Any) -> Any:
    added = builder.known[layer.add_from]
    if layer.units:
        make = keras.layers.Conv2D if _is_grid(added) else keras.layers.Conv1D
        projection = make(layer.units, 1, strides=layer.stride, padding="same")
        added = builder.add(projection, added)
    total = builder.add(keras.layers.Add(), [value, added])
    return (
        total
        if layer.activation is Activation.LINEAR
        else builder.activate(layer.activation, total)
    )


_LAYERS: dict[LayerKind, Callable[[_Builder, Layer, Any], Any]] = {
    LayerKind.DENSE: _dense,
    LayerKind.CONV1D: _conv,
    LayerKind.CONV2D: _conv,
    LayerKind.DEPTHWISE_CONV: _depthwise,
    LayerKind.SEPARABLE_CONV: _separable,
    LayerKind.MAX_POOL: _pool,
    LayerKind.AVERAGE_POOL: _pool,
    LayerKind.GLOBAL_AVERAGE_POOL: _global_pool,
    LayerKind.BATCH_NORMALIZATION: _normalization,
    LayerKind.RESHAPE: _reshape,
    LayerKind.FLATTEN: lambda b, _l, value: _flat(b, value),
    LayerKind.DROPOUT: lambda b, layer, value: b.add(keras.layers.Dropout(layer.rate), value),
    LayerKind.RESIDUAL_ADD: _residual,
    LayerKind.ACTIVATION: lambda b, layer, value: b.activate(layer.activation, value),
}
