"""What a Keras layer is in a layer list; refuses what a list can't say exactly."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from linnet_ml.device_weights import BATCH_NORM_EPSILON
from linnet_ml.spec import Activation, Layer, LayerKind, Padding, Pooling

from linnet_trainer.models import LEAKY_SLOPE, Weights

_L = keras.layers
_ACTIVATIONS = {
    keras.activations.linear: Activation.LINEAR,
    keras.activations.relu: Activation.RELU,
    keras.activations.relu6: Activation.RELU6,
    keras.activations.tanh: Activation.TANH,
    keras.activations.sigmoid: Activation.SIGMOID,
    keras.activations.hard_silu: Activation.HARD_SWISH,
}
_PADDING = {"same": Padding.SAME, "valid": Padding.VALID}


class Inexpressible(Exception):
    """No layer list says what the model does."""


def must(holds: object) -> None:
    """Refuse the model unless something holds.

    Raises:
        Inexpressible: It does not.
    """
    if not holds:
        raise Inexpressible


def check(layer: Any, *kinds: Any) -> None:
    """Refuse a layer of another class, of other numbers than float32, or with more weights."""
    must(type(layer) in kinds)
    must(layer.dtype_policy.name == "float32")
    must(not getattr(layer, "lora_rank", None) and not getattr(layer, "quantization_mode", None))
    must(getattr(layer, "data_format", "channels_last") in {None, "channels_last"})


def _arrays(layer: Any) -> Weights:
    return tuple(np.asarray(array) for array in layer.get_weights())


def with_bias(layer: Any) -> Weights:
    """Give kernel and bias of a layer, zeros where it has no bias."""
    arrays = _arrays(layer)
    if layer.use_bias:
        return arrays
    return (*arrays, np.zeros(arrays[0].shape[-1], np.float32))


def _activation(layer: Any) -> Activation:
    found = _ACTIVATIONS.get(layer.activation)
    must(found is not None)
    return found or Activation.LINEAR


def _one(sizes: Any) -> int:
    """Give a size that is the same along every axis."""
    must(len(set(sizes)) == 1)
    return int(sizes[0])


def _window(layer: Any, sizes: Any) -> dict[str, Any]:
    """Read a sliding window of one or two axes."""
    must(layer.padding in _PADDING)
    must(set(getattr(layer, "dilation_rate", (1,))) == {1})
    height, *width = (int(size) for size in sizes)
    return {
        "kernel_size": height,
        "kernel_width": width[0] if width and width[0] != height else 0,
        "stride": _one(layer.strides),
        "padding": _PADDING[layer.padding],
    }


def _dense(layer: Any, _value: Any) -> tuple[Layer, Weights]:
    found = Layer(
        LayerKind.DENSE,
        units=layer.units,
        activation=_activation(layer),
        no_bias=not layer.use_bias,
    )
    return found, _arrays(layer)


def _convolution(layer: Any, _value: Any) -> tuple[Layer, Weights]:
    must(layer.groups == 1)
    found = Layer(
        LayerKind.CONV1D if layer.rank == 1 else LayerKind.CONV2D,
        units=layer.filters,
        activation=_activation(layer),
        pooling=Pooling.NONE,
        no_bias=not layer.use_bias,
        **_window(layer, layer.kernel_size),
    )
    return found, _arrays(layer)


def _by_depth(layer: Any, _value: Any) -> tuple[Layer, Weights]:
    separable = type(layer) in {_L.SeparableConv1D, _L.SeparableConv2D}
    found = Layer(
        LayerKind.SEPARABLE_CONV if separable else LayerKind.DEPTHWISE_CONV,
        units=layer.filters if separable else 0,
        depth_multiplier=layer.depth_multiplier,
        activation=_activation(layer),
        no_bias=not layer.use_bias,
        **_window(layer, layer.kernel_size),
    )
    return found, _arrays(layer)


def _pool(layer: Any, _value: Any) -> tuple[Layer, None]:
    largest = type(layer) in {_L.MaxPooling1D, _L.MaxPooling2D}
    kind = LayerKind.MAX_POOL if largest else LayerKind.AVERAGE_POOL
    return Layer(kind, **_window(layer, layer.pool_size)), None


def _global_pool(layer: Any, _value: Any) -> tuple[Layer, None]:
    must(not layer.keepdims)
    return Layer(LayerKind.GLOBAL_AVERAGE_POOL), None


def _normalization(layer: Any, value: Any) -> tuple[Layer, Weights]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    channels = int(value.shape[-1])
    must(axes in ([-1], [len(value.shape) - 1]))
    gamma = np.asarray(layer.gamma) if layer.scale else np.ones(channels, np.float32)
    beta = np.asarray(layer.beta) if layer.center else np.zeros(channels, np.float32)
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    if layer.epsilon != BATCH_NORM_EPSILON:
        # Only the sum of both counts.
        variance = variance.astype(np.float64) + (layer.epsilon - BATCH_NORM_EPSILON)
    return Layer(LayerKind.BATCH_NORMALIZATION), (gamma, beta, mean, variance)


def _reshape(_layer: Any, value: Any) -> tuple[Layer, None]:
    _, _, *tail = value.shape
    if not tail:
        return Layer(LayerKind.FLATTEN), None
    must(len(tail) <= len(("columns", "channels")))
    columns, channels = (*tail, 0)[:2]
    return Layer(LayerKind.RESHAPE, columns=int(columns), channels=int(channels)), None


def _activated(layer: Any, _value: Any) -> tuple[Layer, None]:
    if type(layer) is _L.LeakyReLU:
        must(np.isclose(layer.negative_slope, LEAKY_SLOPE))
        return Layer(LayerKind.ACTIVATION, activation=Activation.LEAKY_RELU), None
    if type(layer) is _L.ReLU:
        must(layer.negative_slope == 0 and layer.threshold == 0)
        must(layer.max_value in {None, 6})
        bounded = layer.max_value is not None
        found = Activation.RELU6 if bounded else Activation.RELU
        return Layer(LayerKind.ACTIVATION, activation=found), None
    return Layer(LayerKind.ACTIVATION, activation=_activation(layer)), None


def is_projection(layer: Any) -> bool:
    """Say whether a layer only mixes channels, as the projection of a residual add does."""
    return type(layer) in {_L.Conv1D, _L.Conv2D} and set(layer.kernel_size) == {1}


def read_residual(source: str, projection: Any) -> tuple[Layer, Weights | None]:
    """Read an addition of a value, by its id, and the layer that projects it; None for none."""
    plain = Layer(LayerKind.RESIDUAL_ADD, add_from=source, activation=Activation.LINEAR)
    if projection is None:
        return plain, None
    check(projection, _L.Conv1D, _L.Conv2D)
    window = _window(projection, projection.kernel_size)
    must(projection.groups == 1)
    must(_activation(projection) is Activation.LINEAR)
    found = replace(plain, units=projection.filters, stride=window["stride"])
    return found, with_bias(projection)


def read_layer(layer: Any, value: Any) -> tuple[Layer, Weights | None]:
    """Read a layer; `value` is its output."""
    reader = _READERS.get(type(layer))
    must(reader is not None)
    check(layer, type(layer))
    return reader(layer, value)  # type: ignore[misc]  # it is there, as said


_READERS: dict[Any, Callable[[Any, Any], tuple[Layer, Weights | None]]] = {
    _L.Dense: _dense,
    _L.Conv1D: _convolution,
    _L.Conv2D: _convolution,
    _L.DepthwiseConv1D: _by_depth,
    _L.DepthwiseConv2D: _by_depth,
    _L.SeparableConv1D: _by_depth,
    _L.SeparableConv2D: _by_depth,
    _L.MaxPooling1D: _pool,
    _L.MaxPooling2D: _pool,
    _L.AveragePooling1D: _pool,
    _L.AveragePooling2D: _pool,
    _L.GlobalAveragePooling1D: _global_pool,
    _L.GlobalAveragePooling2D: _global_pool,
    _L.BatchNormalization: _normalization,
    _L.Reshape: _reshape,
    _L.Flatten: _reshape,
    _L.Activation: _activated,
    _L.ReLU: _activated,
    _L.LeakyReLU: _activated,
}
