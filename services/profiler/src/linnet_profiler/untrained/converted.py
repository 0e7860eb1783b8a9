"""What TensorFlow Lite's converter makes of a device plan, operator by operator, without it.

Activations join the operator before them, a factor and a shift before a dense layer join its
weights, reshapes are merged, moved behind activations and left out before dense layers; the order
is that in which the graph's importer walks it. Found by converting and held to it by tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from linnet_ml.device_plan import INPUT, DeviceOp, DevicePlan, OpKind
from linnet_ml.spec import Activation, Padding

from linnet_profiler.tflite.model import Option
from linnet_profiler.untrained.import_order import import_order
from linnet_profiler.untrained.rewriting import Node, Rewriting, Shape

_OWN: Final = {
    Activation.RELU: "RELU",
    Activation.RELU6: "RELU6",
    Activation.TANH: "TANH",
    Activation.SIGMOID: "LOGISTIC",
    Activation.LEAKY_RELU: "LEAKY_RELU",
    Activation.HARD_SWISH: "HARD_SWISH",
}
# As the file holds it, in 32 bits.
_LEAKY_SLOPE: Final = 0.30000001192092896
_PADDING: Final = {Padding.SAME: "same", Padding.VALID: "valid"}


def converted(plan: DevicePlan) -> tuple[Node, ...]:
    """The operators of the converted model in order; sources count within the result."""
    graph = _Expansion(plan).graph
    graph.rewrite(graph.repeat, graph.merge)
    graph.rewrite(graph.move_bias)
    graph.rewrite(graph.merge, graph.fuse, graph.swap, graph.flatten, graph.fold)
    graph.leave_out_flattening()
    return graph.in_order()


class _Expansion:
    """The operators of a plan as nodes, one after the other, before anything is rewritten."""

    def __init__(self, plan: DevicePlan) -> None:
        self.graph = Rewriting(plan.input_shape)
        results: list[int] = []
        for op, places in zip(plan.ops, import_order(plan), strict=True):
            self._places = places
            results.append(self._expand(op, results))

    def _add(self, node: Node, place: int) -> int:
        return self.graph.add(replace(node, place=(place, 0)))

    def _expand(self, op: DeviceOp, results: list[int]) -> int:
        source = results[op.source] if op.source != INPUT else INPUT
        other = results[op.other] if op.other != INPUT else INPUT
        last = _EXPANSIONS[op.kind](self, op, source, other)
        if op.activation is Activation.LINEAR:
            return last
        options: dict[str, Option] = {}
        if op.activation is Activation.LEAKY_RELU:
            options["alpha"] = _LEAKY_SLOPE
        own = Node(_OWN[op.activation], (last,), (1, *op.shape), options=options)
        return self._add(own, self._places[2])

    def windowed(self, name: str, op: DeviceOp, source: int, **options: Option) -> int:
        """Add a convolution or a pool."""
        common: dict[str, Option] = {
            "padding": _PADDING[op.padding],
            "stride_h": op.strides[0],
            "stride_w": op.strides[1],
            "activation": "none",
        }
        made = Node(name, (source,), (1, *op.shape), _stored(op), common | options)
        return self._add(made, self._places[1])

    def plain(self, name: str, op: DeviceOp, sources: tuple[int, ...], **options: Option) -> int:
        """Add another operator."""
        made = Node(name, sources, (1, *op.shape), _stored(op), options)
        return self._add(made, self._places[1])

    def affine(self, op: DeviceOp, source: int) -> int:
        """Add a factor and a shift."""
        factor, shift = op.arrays
        first, last, _ = self._places
        shape, fused = (1, *op.shape), {"activation": "none"}
        scaled = self._add(Node("MUL", (source,), shape, (factor,), fused), first)
        return self._add(Node("ADD", (scaled,), shape, (shift,), fused), last)


def _stored(op: DeviceOp) -> tuple[Shape, ...]:
    """Shapes of an operator's arrays as the file holds them."""
    if not op.arrays:
        return ()
    kernel, bias = op.arrays
    if op.kind is OpKind.DEPTHWISE:
        height, width, channels, multiplier = kernel
        return ((1, height, width, channels * multiplier), bias)
    return ((kernel[-1], *kernel[:-1]), bias)


_DILATION: Final[dict[str, Option]] = {"dilation_h": 1, "dilation_w": 1}


def _window(op: DeviceOp) -> dict[str, Option]:
    return {"window_h": op.window[0], "window_w": op.window[1]}


def _depthwise(at: _Expansion, op: DeviceOp, source: int, _other: int) -> int:
    # The exporter gives a depthwise convolution equal strides; along a height of 1 it's the same.
    equal: dict[str, Option] = {"stride_h": op.strides[1], "depth_multiplier": op.arrays[0][3]}
    return at.windowed("DEPTHWISE_CONV_2D", op, source, **(_DILATION | equal))


_EXPANSIONS: Final[dict[OpKind, Callable[[_Expansion, DeviceOp, int, int], int]]] = {
    OpKind.CONV: lambda at, op, x, _: at.windowed("CONV_2D", op, x, **_DILATION),
    OpKind.DEPTHWISE: _depthwise,
    OpKind.DENSE: lambda at, op, x, _: at.plain(
        "FULLY_CONNECTED", op, (x,), activation="none", keep_num_dims=False
    ),
    OpKind.MAX_POOL: lambda at, op, x, _: at.windowed("MAX_POOL_2D", op, x, **_window(op)),
    OpKind.AVERAGE_POOL: lambda at, op, x, _: at.windowed("AVERAGE_POOL_2D", op, x, **_window(op)),
    OpKind.AFFINE: lambda at, op, x, _: at.affine(op, x),
    OpKind.ADD: lambda at, op, x, other: at.plain("ADD", op, (x, other), activation="none"),
    OpKind.RESHAPE: lambda at, op, x, _: at.plain("RESHAPE", op, (x,)),
    OpKind.SOFTMAX: lambda at, op, x, _: at.plain("SOFTMAX", op, (x,), beta=1.0),
    OpKind.ACTIVATION: lambda _at, _op, x, _: x,
}
