# ruff: noqa: PLR2004 - numbers of axes speak for themselves
"""Shapes and parameter counts of a layer list, without TensorFlow.

The gateway refuses with it what can't be built, and the page shows it beside every layer. Counts
equal Keras' `count_params()` of the model that the trainer builds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from linnet_runtime.errors import InvalidInput, Violation

from linnet_ml.layer_fields import check_fields, with_defaults
from linnet_ml.spec import Layer, LayerKind, LayerList, Padding, Pooling

Shape = tuple[int, ...]

INPUT_ID = "input"
"""The id by which a residual add refers to the model's input."""
MAX_PARAMETERS = 10_000_000
"""40 MB of float32: far above any microcontroller, and still trained in a pod's memory."""
MAX_OUTPUT_ELEMENTS = 4_194_304
"""Elements of one row's output of one layer; a batch of 32 such rows takes 512 MB."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer makes of its input; shapes leave the row axis out.

    Attributes:
        path: Where the layer stands in the spec; `architecture.output` for the implied output.
        kind: What the layer does.
        enabled: A layer that is not enabled passes its input on.
        input_shape: Shape of one row before it.
        output_shape: Shape of one row after it.
        parameter_count: All weights, those that are not trained included.
        multiply_accumulates: Multiplications with a weight for one row.
    """

    path: str
    kind: LayerKind
    enabled: bool
    input_shape: Shape
    output_shape: Shape
    parameter_count: int
    multiply_accumulates: int


@dataclass(frozen=True, slots=True)
class _Cost:
    shape: Shape
    parameters: int = 0
    macs: int = 0


def layer_path(index: int) -> str:
    """Give the path of a layer within a spec."""
    return f"architecture.layers.layers[{index}]"


def infer(layers: LayerList, input_shape: Shape, class_count: int) -> tuple[LayerShape, ...]:
    """Infer what every layer and the implied output layer make of their input.

    Args:
        layers: The layers; defaults need not be filled in.
        input_shape: Shape of one row: one to three axes.
        class_count: Units of the implied output, a dense layer with softmax.

    Returns:
        One entry a layer, in order, then one for the output.

    Raises:
        InvalidInput: A layer does not fit; names its path, what it expects and what it gets.
    """
    check_fields(layers, layer_path)
    if not 1 <= len(input_shape) <= 3 or any(size < 1 for size in input_shape):
        raise InvalidInput.of(
            "dataset.input_shape", f"expected one to three axes, received {input_shape}"
        )
    found = list(_walk(layers, tuple(input_shape)))
    shape = found[-1].output_shape if found else tuple(input_shape)
    size = prod(shape)
    found.append(
        LayerShape(
            "architecture.output",
            LayerKind.DENSE,
            enabled=True,
            input_shape=shape,
            output_shape=(class_count,),
            parameter_count=(size + 1) * class_count,
            multiply_accumulates=size * class_count,
        )
    )
    _check_size(found)
    return tuple(found)


def parameter_count(shapes: tuple[LayerShape, ...]) -> int:
    """Add up the parameters of a network, as `infer` gives it."""
    return sum(shape.parameter_count for shape in shapes)


def _walk(layers: LayerList, shape: Shape) -> Iterator[LayerShape]:
    known: dict[str, Shape] = {INPUT_ID: shape}
    for index, raw in enumerate(layers.layers):
        path = layer_path(index)
        enabled = raw.enabled is not False
        if enabled:
            layer = with_defaults(raw)
            cost = _apply(layer, shape, known, path)
            if any(size < 1 for size in cost.shape):
                raise InvalidInput.of(path, f"input {shape} would leave nothing, {cost.shape}")
        else:
            cost = _Cost(shape)
        yield LayerShape(path, raw.kind, enabled, shape, cost.shape, cost.parameters, cost.macs)
        shape = cost.shape
        if raw.id and enabled:
            known[raw.id] = shape


def _check_size(found: list[LayerShape]) -> None:
    total = 0
    for layer in found:
        total += layer.parameter_count
        if total > MAX_PARAMETERS:
            raise InvalidInput.of(
                layer.path,
                f"expected at most {MAX_PARAMETERS:,} parameters up to here, received {total:,} "
                f"(input {layer.input_shape}, output {layer.output_shape})",
            )
        if prod(layer.output_shape) > MAX_OUTPUT_ELEMENTS:
            raise InvalidInput.of(
                layer.path,
                f"expected at most {MAX_OUTPUT_ELEMENTS:,} output elements, received "
                f"{layer.output_shape} from input {layer.input_shape}",
            )


def _apply(layer: Layer, shape: Shape, known: dict[str, Shape], path: str) -> _Cost:
    kind = layer.kind
    if kind is LayerKind.RESIDUAL_ADD:
        return _residual(layer, shape, known, path)
    rule = _RULES.get(kind)
    return _Cost(shape) if rule is None else rule(layer, shape, path)


def _dense(layer: Layer, shape: Shape, _path: str) -> _Cost:
    weights = prod(shape) * layer.units
    return _Cost((layer.units,), weights + (0 if layer.no_bias else layer.units), weights)


def _pool(layer: Layer, shape: Shape, path: str) -> _Cost:
    _expect_axes(shape, {2, 3}, path)
    return _Cost((*_positions(layer, shape, path), shape[-1]))


def _global_pool(_layer: Layer, shape: Shape, path: str) -> _Cost:
    _expect_axes(shape, {2, 3}, path)
    return _Cost(shape[-1:])


def _normalization(_layer: Layer, shape: Shape, _path: str) -> _Cost:
    return _Cost(shape, 4 * shape[-1])


def _flatten(_layer: Layer, shape: Shape, _path: str) -> _Cost:
    return _Cost((prod(shape),))


def _expect_axes(shape: Shape, axes: set[int], path: str) -> None:
    if len(shape) in axes:
        return
    words = {2: "(steps, channels)", 3: "(height, width, channels)"}
    expected = " or ".join(words[count] for count in sorted(axes))
    raise InvalidInput.of(
        path,
        f"expected an input of shape {expected}, received {shape}; put a reshape layer before it",
    )


def _kernel(layer: Layer, shape: Shape) -> tuple[int, ...]:
    if len(shape) == 2:
        return (layer.kernel_size,)
    return (layer.kernel_size, layer.kernel_width or layer.kernel_size)


def _positions(layer: Layer, shape: Shape, path: str) -> Shape:
    if layer.kernel_width and len(shape) == 2:
        raise InvalidInput.of(
            f"{path}.kernel_width", f"expected nothing, an input {shape} has no width"
        )
    return _slide(shape, _kernel(layer, shape), layer.stride, layer.padding, path)


def _slide(shape: Shape, window: Shape, stride: int, padding: Padding, path: str) -> Shape:
    spatial = shape[:-1]
    if padding is Padding.SAME:
        return tuple(-(-size // stride) for size in spatial)
    if any(w > size for w, size in zip(window, spatial, strict=True)):
        raise InvalidInput.of(
            path,
            f"expected a window of at most {spatial} with valid padding, received {window} "
            f"on input {shape}",
        )
    return tuple((size - w) // stride + 1 for size, w in zip(spatial, window, strict=True))


def _convolutions(layer: Layer, shape: Shape, path: str) -> _Cost:
    _expect_axes(shape, {2} if layer.kind is LayerKind.CONV1D else {3}, path)
    parameters = macs = 0
    for _ in range(layer.stack):
        weights = prod(_kernel(layer, shape)) * shape[-1] * layer.units
        shape = (*_positions(layer, shape, path), layer.units)
        parameters += weights + (0 if layer.no_bias else layer.units)
        macs += weights * prod(shape[:-1])
    if layer.pooling is not Pooling.NONE:
        window = (layer.pool_size,) * (len(shape) - 1)
        spatial = _slide(shape, window, layer.pool_size, layer.padding, path)
        shape = (*spatial, shape[-1])
    return _Cost(shape, parameters, macs)


def _depthwise(layer: Layer, shape: Shape, path: str) -> _Cost:
    _expect_axes(shape, {2, 3}, path)
    channels = shape[-1] * layer.depth_multiplier
    weights = prod(_kernel(layer, shape)) * channels
    spatial = _positions(layer, shape, path)
    macs = weights * prod(spatial)
    if layer.kind is LayerKind.DEPTHWISE_CONV:
        bias = 0 if layer.no_bias else channels
        return _Cost((*spatial, channels), weights + bias, macs)
    bias = 0 if layer.no_bias else layer.units
    pointwise = channels * layer.units
    return _Cost(
        (*spatial, layer.units), weights + pointwise + bias, macs + pointwise * prod(spatial)
    )


def _reshape(layer: Layer, shape: Shape, path: str) -> _Cost:
    tail = (layer.columns, layer.channels) if layer.channels else (layer.columns,)
    size = prod(shape)
    if size % prod(tail):
        wanted = "(rows, " + ", ".join(str(n) for n in tail) + ")"
        raise InvalidInput.of(
            path,
            f"expected a number of elements divisible by {prod(tail)} for {wanted}, "
            f"received {shape} = {size}",
        )
    return _Cost((size // prod(tail), *tail))


def _residual(layer: Layer, shape: Shape, known: dict[str, Shape], path: str) -> _Cost:
    if layer.add_from not in known:
        raise InvalidInput(
            [
                Violation(
                    f"{path}.add_from",
                    f"expected the id of an earlier, enabled layer ({', '.join(known)}), "
                    f"received {layer.add_from!r}",
                )
            ]
        )
    source = added = known[layer.add_from]
    parameters = macs = 0
    if layer.units:
        _expect_axes(source, {2, 3}, f"{path}.add_from")
        added = (*_slide(source, (1,), layer.stride, Padding.SAME, path), layer.units)
        parameters = (source[-1] + 1) * layer.units
        macs = source[-1] * prod(added)
    if added != shape:
        raise InvalidInput.of(
            path,
            f"expected two equal shapes to add, received {shape} and {added} "
            f"(of {layer.add_from!r})",
        )
    return _Cost(shape, parameters, macs)


_RULES: dict[LayerKind, Callable[[Layer, Shape, str], _Cost]] = {
    LayerKind.DENSE: _dense,
    LayerKind.CONV1D: _convolutions,
    LayerKind.CONV2D: _convolutions,
    LayerKind.DEPTHWISE_CONV: _depthwise,
    LayerKind.SEPARABLE_CONV: _depthwise,
    LayerKind.MAX_POOL: _pool,
    LayerKind.AVERAGE_POOL: _pool,
    LayerKind.GLOBAL_AVERAGE_POOL: _global_pool,
    LayerKind.BATCH_NORMALIZATION: _normalization,
    LayerKind.RESHAPE: _reshape,
    LayerKind.FLATTEN: _flatten,
}
"""Kinds that are missing keep the shape and have no weights."""
