"""From a layer list to the operators of a device.

Batch normalization is folded into the operator before it, dropout is gone, one-dimensional layers
are two-dimensional ones of height 1, reshapes at the input become the input's shape, and the global
average is a pool over the full window, for which devices have an optimised kernel.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from linnet_ml.device_plan import (
    INPUT,
    DeviceOp,
    DevicePlan,
    OpKind,
    Recipe,
    Shape,
)
from linnet_ml.device_weights import affine, folded, plain
from linnet_ml.layers import INPUT_ID, infer
from linnet_ml.spec import Activation, Layer, LayerKind, LayerList, Padding, Pooling

_FOLDABLE = {OpKind.CONV, OpKind.DEPTHWISE, OpKind.DENSE}
_ACTIVATED = {*_FOLDABLE, OpKind.AFFINE, OpKind.ADD}


def plan(layers: LayerList, input_shape: Shape, class_count: int) -> DevicePlan:
    """Plan the operators of a layer list.

    Args:
        layers: Enabled layers with their defaults filled in.
        input_shape: Shape of one row.
        class_count: Units of the output.
    """
    shapes = [s.input_shape for s in infer(layers, input_shape, class_count)]
    start = _leading_reshapes(layers)
    following = layers.layers[start].kind if start < len(layers.layers) else LayerKind.DENSE
    first = shapes[start]
    # A dense layer flattens by itself, unless a residual add needs the input's own axes later.
    named = any(layer.add_from == INPUT_ID for layer in layers.layers)
    flat = following is LayerKind.DENSE and not named
    planner = _Planner((prod(first),) if flat else _lifted(first), layers)
    for layer, shape in zip(layers.layers[start:], shapes[start:], strict=False):
        planner.follow(layer, shape)
    planner.dense(class_count, has_bias=True)
    planner.add(DeviceOp(OpKind.SOFTMAX, planner.last, (class_count,)))
    recipes = tuple(planner.recipes[index] for index in sorted(planner.recipes))
    return DevicePlan((1, *planner.input_shape), tuple(planner.ops), recipes)


def _leading_reshapes(layers: LayerList) -> int:
    """Count the layers at the start that only give the same bytes another shape."""
    passing = {LayerKind.RESHAPE, LayerKind.FLATTEN, LayerKind.DROPOUT}
    named = {layer.add_from for layer in layers.layers}
    start = 0
    for layer in layers.layers:
        if INPUT_ID in named or layer.kind not in passing or layer.id in named - {""}:
            break
        start += 1
    return start


def _lifted(shape: Shape) -> Shape:
    """Give steps and channels a height of 1."""
    return (1, *shape) if _is_line(shape) else shape


def _is_line(shape: Shape) -> bool:
    return len(shape) == len(("steps", "channels"))


class _Planner:
    def __init__(self, input_shape: Shape, layers: LayerList) -> None:
        self.input_shape = self.shape = input_shape
        self.ops: list[DeviceOp] = []
        self.recipes: dict[int, Recipe] = {}
        self.last = INPUT
        self._taken = 0
        self._named: dict[str, tuple[int, Shape]] = {INPUT_ID: (INPUT, input_shape)}
        self._referred = {layer.add_from for layer in layers.layers} - {""}
        self._pinned: set[int] = set()

    def follow(self, layer: Layer, shape: Shape) -> None:
        """Plan one layer; `shape` is its input's in the layer list."""
        _STEPS[layer.kind](self, layer, shape)
        if layer.id in self._referred:
            self._named[layer.id] = (self.last, self.shape)
            self._pinned.add(self.last)

    def take(self) -> int:
        """Give the index of the next Keras layer with weights."""
        self._taken += 1
        return self._taken - 1

    def add(self, op: DeviceOp, recipe: Recipe | None = None) -> None:
        self.ops.append(op)
        self.last = len(self.ops) - 1
        self.shape = op.shape
        if recipe is not None:
            self.recipes[self.last] = recipe

    def activate(self, activation: Activation) -> None:
        """Put an activation into the operator before it where it can be."""
        if activation is Activation.LINEAR:
            return
        if self.last != INPUT and self.last not in self._pinned:
            before = self.ops[self.last]
            if before.kind in _ACTIVATED and before.activation is Activation.LINEAR:
                self.ops[self.last] = replace(before, activation=activation)
                return
        self.add(DeviceOp(OpKind.ACTIVATION, self.last, self.shape, activation=activation))

    def dense(self, units: int, *, has_bias: bool) -> None:
        size = prod(self.shape)
        if self.shape != (size,):
            self.add(DeviceOp(OpKind.RESHAPE, self.last, (size,)))
        op = DeviceOp(OpKind.DENSE, self.last, (units,), arrays=((size, units), (units,)))
        self.add(op, plain(self.take(), 0, 1 if has_bias else None, (size, units), units))

    def window(
        self, layer: Layer, shape: Shape
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Give window, strides and the number of positions of a layer."""
        if _is_line(shape):
            window, strides = (1, layer.kernel_size), (1, layer.stride)
        else:
            window = (layer.kernel_size, layer.kernel_width or layer.kernel_size)
            strides = (layer.stride, layer.stride)
        return window, strides, self.positions(window, strides, layer.padding)

    def positions(
        self, window: tuple[int, int], strides: tuple[int, int], padding: Padding
    ) -> tuple[int, int]:
        if padding is Padding.SAME:
            return -(-self.shape[0] // strides[0]), -(-self.shape[1] // strides[1])
        return (
            (self.shape[0] - window[0]) // strides[0] + 1,
            (self.shape[1] - window[1]) // strides[1] + 1,
        )

    def pool(
        self, kind: OpKind, window: tuple[int, int], strides: tuple[int, int], padding: Padding
    ) -> None:
        shape = (*self.positions(window, strides, padding), self.shape[-1])
        self.add(DeviceOp(kind, self.last, shape, window=window, strides=strides, padding=padding))

    def fold(self, index: int) -> None:
        """Fold a batch normalization into the operator before it, or leave it as an operator."""
        channels = self.shape[-1]
        before = self.ops[self.last] if self.last != INPUT else None
        if (
            before is not None
            and before.kind in _FOLDABLE
            and before.activation is Activation.LINEAR
            and self.last not in self._pinned
        ):
            self.recipes[self.last] = folded(self.recipes[self.last], index, before.kind)
            return
        op = DeviceOp(OpKind.AFFINE, self.last, self.shape, arrays=((channels,), (channels,)))
        self.add(op, lambda weights: affine(weights[index]))

    def named(self, name: str) -> tuple[int, Shape]:
        return self._named[name]


def _dense(planner: _Planner, layer: Layer, _shape: Shape) -> None:
    planner.dense(layer.units, has_bias=not layer.no_bias)
    planner.activate(layer.activation)


def _conv(planner: _Planner, layer: Layer, shape: Shape) -> None:
    for _ in range(layer.stack):
        window, strides, positions = planner.window(layer, shape)
        kernel = (*window, planner.shape[-1], layer.units)
        op = DeviceOp(
            OpKind.CONV,
            planner.last,
            (*positions, layer.units),
            window=window,
            strides=strides,
            padding=layer.padding,
            arrays=(kernel, (layer.units,)),
        )
        bias = None if layer.no_bias else 1
        planner.add(op, plain(planner.take(), 0, bias, kernel, layer.units))
        planner.activate(layer.activation)
    if layer.pooling is Pooling.NONE:
        return
    kind = OpKind.MAX_POOL if layer.pooling is Pooling.MAX else OpKind.AVERAGE_POOL
    size = layer.pool_size
    window = (1, size) if _is_line(shape) else (size, size)
    planner.pool(kind, window, window, layer.padding)


def _depthwise(planner: _Planner, layer: Layer, shape: Shape) -> None:
    window, strides, positions = planner.window(layer, shape)
    channels = planner.shape[-1]
    wide = channels * layer.depth_multiplier
    kernel = (*window, channels, layer.depth_multiplier)
    op = DeviceOp(
        OpKind.DEPTHWISE,
        planner.last,
        (*positions, wide),
        window=window,
        strides=strides,
        padding=layer.padding,
        arrays=(kernel, (wide,)),
    )
    index = planner.take()
    if layer.kind is LayerKind.DEPTHWISE_CONV:
        planner.add(op, plain(index, 0, None if layer.no_bias else 1, kernel, wide))
    else:
        planner.add(op, plain(index, 0, None, kernel, wide))
        point = (1, 1, wide, layer.units)
        joined = DeviceOp(
            OpKind.CONV,
            planner.last,
            (*positions, layer.units),
            arrays=(point, (layer.units,)),
        )
        planner.add(joined, plain(index, 1, None if layer.no_bias else 2, point, layer.units))
    planner.activate(layer.activation)


def _pool(planner: _Planner, layer: Layer, shape: Shape) -> None:
    kind = OpKind.MAX_POOL if layer.kind is LayerKind.MAX_POOL else OpKind.AVERAGE_POOL
    window, strides, _ = planner.window(layer, shape)
    planner.pool(kind, window, strides, layer.padding)


def _global_pool(planner: _Planner, _layer: Layer, _shape: Shape) -> None:
    height, width, channels = planner.shape
    planner.pool(OpKind.AVERAGE_POOL, (height, width), (1, 1), Padding.VALID)
    planner.add(DeviceOp(OpKind.RESHAPE, planner.last, (channels,)))


def _reshape(planner: _Planner, layer: Layer, shape: Shape) -> None:
    tail = (layer.columns, layer.channels) if layer.channels else (layer.columns,)
    wanted = _lifted((prod(shape) // prod(tail), *tail))
    if wanted != planner.shape:
        planner.add(DeviceOp(OpKind.RESHAPE, planner.last, wanted))


def _flatten(planner: _Planner, _layer: Layer, shape: Shape) -> None:
    if planner.shape != (prod(shape),):
        planner.add(DeviceOp(OpKind.RESHAPE, planner.last, (prod(shape),)))


def _residual(planner: _Planner, layer: Layer, _shape: Shape) -> None:
    main = planner.last
    other, shape = planner.named(layer.add_from)
    if layer.units:
        here = planner.shape
        strides = (1 if here[0] == shape[0] == 1 else layer.stride, layer.stride)
        kernel = (1, 1, shape[-1], layer.units)
        op = DeviceOp(OpKind.CONV, other, here, strides=strides, arrays=(kernel, (layer.units,)))
        planner.add(op, plain(planner.take(), 0, 1, kernel, layer.units))
        other = planner.last
    planner.add(DeviceOp(OpKind.ADD, main, planner.shape, other=other))
    planner.activate(layer.activation)


_STEPS: dict[LayerKind, Callable[[_Planner, Layer, Shape], None]] = {
    LayerKind.DENSE: _dense,
    LayerKind.CONV1D: _conv,
    LayerKind.CONV2D: _conv,
    LayerKind.DEPTHWISE_CONV: _depthwise,
    LayerKind.SEPARABLE_CONV: _depthwise,
    LayerKind.MAX_POOL: _pool,
    LayerKind.AVERAGE_POOL: _pool,
    LayerKind.GLOBAL_AVERAGE_POOL: _global_pool,
    LayerKind.BATCH_NORMALIZATION: lambda planner, _l, _s: planner.fold(planner.take()),
    LayerKind.RESHAPE: _reshape,
    LayerKind.FLATTEN: _flatten,
    LayerKind.DROPOUT: lambda _p, _l, _s: None,
    LayerKind.RESIDUAL_ADD: _residual,
    LayerKind.ACTIVATION: lambda planner, layer, _s: planner.activate(layer.activation),
}
