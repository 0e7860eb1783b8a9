"""Layer list to expert script: the Keras source that builds the same network, weight by weight."""

from math import prod

from linnet_ml.layer_fields import with_defaults
from linnet_ml.layers import infer
from linnet_ml.spec import Activation, Layer, LayerKind, LayerList, Padding, Pooling

Shape = tuple[int, ...]

_HEAD = '''"""Expert script, written from the layer list; change it as you like.

`build_model` gives a Keras model from rows of `input_shape` to `num_classes` probabilities. Linnet
trains it as the settings say. To train it yourself, define

    def fit(model, x_train, y_train, x_val, y_val, settings): ...

`settings` has optimizer, loss, augment (None, or a function of a batch of rows) and class_weight as
the spec asks for them, epochs, learning_rate, batch_size, seed, and callbacks, which report epochs,
keep the best weights and end training in time. `x_val` is None without validation.
"""

import keras
from keras import layers


def build_model(input_shape, num_classes):
    inputs = keras.Input(input_shape, name="features")
    x = inputs
'''
_TAIL = """    outputs = layers.Dense(num_classes, activation="softmax")(x)
    return keras.Model(inputs, outputs)
"""
_NAMED = {
    Activation.LINEAR: None,
    Activation.RELU: "relu",
    Activation.RELU6: "relu6",
    Activation.TANH: "tanh",
    Activation.SIGMOID: "sigmoid",
}
_PADDING = {Padding.SAME: "same", Padding.VALID: "valid"}


def render(layers: LayerList, input_shape: Shape, class_count: int) -> str:
    """Write the script of a layer list; with the same seed it trains to the same weights.

    Args:
        layers: The layers; defaults need not be filled in. Disabled ones are left out.
        input_shape: Shape of one row.
        class_count: Classes of the dataset, to check the shapes with.

    Raises:
        InvalidInput: The layers do not fit the shape.
    """
    shapes = infer(layers, input_shape, class_count)
    lines: list[str] = []
    for layer, shape in zip(layers.layers, shapes, strict=False):
        if layer.enabled is False:
            continue
        lines += _lines(with_defaults(layer), shape.input_shape)
        if layer.id:
            lines.append(f"{_variable(layer.id)} = x")
    if len(shapes[-1].input_shape) > 1:
        lines.append("x = layers.Flatten()(x)")
    return _HEAD + "".join(f"    {line}\n" for line in lines) + _TAIL


def _variable(layer_id: str) -> str:
    if layer_id == "input":
        return "inputs"
    return "out_" + "".join(c if c.isalnum() and c.isascii() else f"_{ord(c):x}_" for c in layer_id)


def _lines(layer: Layer, shape: Shape) -> list[str]:
    kind = layer.kind
    if kind is LayerKind.DENSE:
        flat = ["x = layers.Flatten()(x)"] if len(shape) > 1 else []
        settings = [str(layer.units), *_fused(layer)]
        if layer.activity_l1:
            settings.append(f"activity_regularizer=keras.regularizers.L1({layer.activity_l1!r})")
        return [*flat, _call("Dense", settings), *_after(layer)]
    if kind in {LayerKind.CONV1D, LayerKind.CONV2D}:
        return _convolutions(layer, shape)
    if kind in {LayerKind.DEPTHWISE_CONV, LayerKind.SEPARABLE_CONV}:
        name = "DepthwiseConv" if kind is LayerKind.DEPTHWISE_CONV else "SeparableConv"
        first = [] if kind is LayerKind.DEPTHWISE_CONV else [str(layer.units)]
        settings = [*first, *_window(layer, shape), f"depth_multiplier={layer.depth_multiplier}"]
        return [_call(f"{name}{_rank(shape)}", [*settings, *_fused(layer)]), *_after(layer)]
    if kind in {LayerKind.MAX_POOL, LayerKind.AVERAGE_POOL}:
        size, strides, padding = _window(layer, shape)
        return [_pool(kind is LayerKind.MAX_POOL, shape, f"{size}, {strides}, {padding}")]
    if kind is LayerKind.RESIDUAL_ADD:
        return _residual(layer, shape)
    return _simple(layer, shape)


def _simple(layer: Layer, shape: Shape) -> list[str]:
    match layer.kind:
        case LayerKind.GLOBAL_AVERAGE_POOL:
            return [_call(f"GlobalAveragePooling{_rank(shape)}", [])]
        case LayerKind.BATCH_NORMALIZATION:
            return [_call("BatchNormalization", [])]
        case LayerKind.RESHAPE:
            tail = [layer.columns, *([layer.channels] if layer.channels else [])]
            return [_call("Reshape", [repr((prod(shape) // prod(tail), *tail))])]
        case LayerKind.FLATTEN:
            return [_call("Flatten", [])] if len(shape) > 1 else []
        case LayerKind.DROPOUT:
            return [_call("Dropout", [repr(layer.rate)])]
        case _:
            return _activation(layer.activation)


def _call(name: str, settings: list[str]) -> str:
    return f"x = layers.{name}({', '.join(settings)})(x)"


def _rank(shape: Shape) -> str:
    return f"{len(shape) - 1}D"


def _fused(layer: Layer) -> list[str]:
    """Give the settings of bias and of an activation that a layer has inside."""
    settings = ["use_bias=False"] if layer.no_bias else []
    name = _NAMED.get(layer.activation)
    return [*settings, f'activation="{name}"'] if name else settings


def _after(layer: Layer) -> list[str]:
    return [] if layer.activation in _NAMED else _activation(layer.activation)


def _activation(activation: Activation) -> list[str]:
    if activation is Activation.LEAKY_RELU:
        return [_call("LeakyReLU", ["negative_slope=0.3"])]
    name = "hard_silu" if activation is Activation.HARD_SWISH else _NAMED[activation] or "linear"
    return [_call("Activation", [f'"{name}"'])]


def _window(layer: Layer, shape: Shape) -> list[str]:
    size = str(layer.kernel_size)
    if len(shape) > len(("steps", "channels")) and layer.kernel_width:
        size = repr((layer.kernel_size, layer.kernel_width))
    return [size, f"strides={layer.stride}", f'padding="{_PADDING[layer.padding]}"']


def _pool(is_max: bool, shape: Shape, settings: str) -> str:
    name = "MaxPool" if is_max else "AveragePooling"
    return f"x = layers.{name}{_rank(shape)}({settings})(x)"


def _convolutions(layer: Layer, shape: Shape) -> list[str]:
    settings = [str(layer.units), *_window(layer, shape), *_fused(layer)]
    if layer.kernel_max_norm:
        settings.append(f"kernel_constraint=keras.constraints.MaxNorm({layer.kernel_max_norm!r})")
    lines = [_call(f"Conv{_rank(shape)}", settings), *_after(layer)] * layer.stack
    if layer.pooling is not Pooling.NONE:
        padding = _PADDING[layer.padding]
        size = f'{layer.pool_size}, strides={layer.pool_size}, padding="{padding}"'
        lines.append(_pool(layer.pooling is Pooling.MAX, shape, size))
    return lines


def _residual(layer: Layer, shape: Shape) -> list[str]:
    added = _variable(layer.add_from)
    if layer.units:
        settings = f'{layer.units}, 1, strides={layer.stride}, padding="same"'
        added = f"layers.Conv{_rank(shape)}({settings})({added})"
    lines = [f"x = layers.Add()([x, {added}])"]
    plain = layer.activation is Activation.LINEAR
    return lines if plain else [*lines, *_activation(layer.activation)]
