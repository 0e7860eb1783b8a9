"""Reads a built Keras model back into a layer list, so that a script's is made for the device too.

What an operator of a layer list can't say exactly ends the reading: a model is read whole or not.
Layers that do nothing after training, such as dropout, are left out.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
from keras.src.models.functional import Functional
from keras.src.ops.numpy import Add as AddOperation
from linnet_ml.layer_fields import with_defaults
from linnet_ml.layers import INPUT_ID, infer
from linnet_ml.spec import LayerList

from linnet_trainer.models import Weights
from linnet_trainer.scripts.keras_layers import (
    Inexpressible,
    check,
    is_projection,
    must,
    read_layer,
    read_residual,
    with_bias,
)

_L = keras.layers
_IDLE = (
    _L.Dropout, _L.SpatialDropout1D, _L.SpatialDropout2D, _L.GaussianNoise, _L.GaussianDropout,
    _L.AlphaDropout, _L.ActivityRegularization, _L.Identity,
)  # fmt: skip
"""What passes its input on once the training is over."""
_FLAT = len(("rows", "features"))


@dataclass(frozen=True, slots=True)
class ReadLayers:
    """A layer list with the weights of the model that it was read from.

    Attributes:
        layers: With defaults filled in, without the implied output.
        weights: Arrays of every layer with weights, in the order of `models.BuiltModel.weights`.
    """

    layers: LayerList
    weights: tuple[Weights, ...]


def read_layers(model: Any, input_shape: tuple[int, ...], class_count: int) -> ReadLayers | None:
    """Read a model whose layers have become a graph.

    Args:
        model: A built `keras.Sequential` or functional model of one input and one output.
        input_shape: Shape of one row.
        class_count: Units of the output.

    Returns:
        The layers; None where a layer list can't say what the model does.
    """
    try:
        found = _Reader(_graph(model), input_shape).read()
        shapes = infer(found.layers, input_shape, class_count)
    except Exception:  # noqa: BLE001 - a script's layers may raise anything; the converter can try
        return None
    made = [shape.output_shape for shape in shapes[:-1]]
    return ReadLayers(found.layers, found.weights) if made == found.shapes else None


def _graph(model: Any) -> Any:
    own = type(model)
    if isinstance(model, keras.Sequential):
        must(own.call is keras.Sequential.call)
        # Keras builds it as a functional model.
        model = model._functional  # noqa: SLF001 - as said above
        own = type(model)
    must(isinstance(model, Functional) and own.call is Functional.call)
    must(len(model.inputs) == len(model.outputs) == 1)
    return model


class _Found(NamedTuple):
    layers: LayerList
    weights: tuple[Weights, ...]
    shapes: list[tuple[int, ...]]


class _Reader:
    def __init__(self, graph: Any, input_shape: tuple[int, ...]) -> None:
        self._input = graph.inputs[0]
        must(self._input.dtype == "float32" and tuple(self._input.shape[1:]) == input_shape)
        self._output = graph.outputs[0]
        by_depth = graph._nodes_by_depth.values()  # noqa: SLF001 - Keras shows no nodes otherwise
        self._nodes = [node for nodes in by_depth for node in nodes if not node.is_input]
        self._makers = {id(t): node for node in self._nodes for t in node.outputs}
        self._left = {id(node) for node in self._nodes}
        self._behind: dict[int, frozenset[int]] = {}

    def read(self) -> "_Found":
        """Walk from the output to the input, along the main path of every addition."""
        value, weights = self._head()
        arrays, layers, shapes = [weights], [], []
        names = {id(self._input): INPUT_ID}
        open_ends: set[int] = set()
        while value is not self._input:
            node = self._take(value)
            own: Weights | None
            if type(node.operation) in {_L.Add, AddOperation}:
                following, source, projection = self._sides(node)
                open_ends.add(id(source))
                name = names.setdefault(id(source), f"value {len(names)}")
                layer, own = read_residual(name, projection)
            else:
                layer, own = read_layer(node.operation, value)
                (following,) = node.input_tensors
            layers.append(replace(layer, id=names[id(value)] if id(value) in open_ends else ""))
            open_ends.discard(id(value))
            shapes.append(tuple(value.shape[1:]))
            arrays += [] if own is None else [own]
            value = self._seen(following)
        # Every branch must come from the one path that was walked, and nothing else may be left.
        must(open_ends <= {id(self._input)} and not self._left)
        listed = LayerList(tuple(with_defaults(layer) for layer in reversed(layers)))
        return _Found(listed, tuple(reversed(arrays)), shapes[::-1])

    def _head(self) -> tuple[Any, Weights]:
        """Read the output, a dense layer with softmax in or behind it; give its input."""
        value = self._seen(self._output)
        node = self._take(value)
        activated = node.operation
        if type(activated) is _L.Softmax or (
            type(activated) is _L.Activation and activated.activation is keras.activations.softmax
        ):
            must(getattr(activated, "axis", -1) == -1)
            node = self._take(self._seen(node.input_tensors[0]))
            must(getattr(node.operation, "activation", None) is keras.activations.linear)
        else:
            must(getattr(activated, "activation", None) is keras.activations.softmax)
        dense = node.operation
        check(dense, _L.Dense)
        (source,) = node.input_tensors
        must(len(source.shape) == _FLAT)
        return self._seen(source), with_bias(dense)

    def _take(self, value: Any) -> Any:
        """Give the node that makes a value, once, if it is called as a device would."""
        node = self._maker(value)
        self._left.discard(id(node))
        arguments = node.arguments
        given = [
            value
            for value in (*arguments.args, *arguments.kwargs.values())
            if value is not None and value is not False
        ]
        tensors = given[0] if len(given) == 1 and isinstance(given[0], list) else given
        # No mask, and no training=True, with which a dropout goes on on the device.
        must(len(tensors) == len(node.input_tensors))
        return node

    def _maker(self, value: Any) -> Any:
        node = self._makers.get(id(value))
        if node is None:
            raise Inexpressible
        return node

    def _seen(self, value: Any) -> Any:
        """Give the value that an idle layer passes on."""
        while value is not self._input:
            layer = self._maker(value).operation
            linear = type(layer) is _L.Activation and layer.activation is keras.activations.linear
            if type(layer) not in _IDLE and not linear:
                break
            (value,) = self._take(value).input_tensors
        return value

    def _sides(self, node: Any) -> tuple[Any, Any, Any]:
        """Tell the main path of an addition from the value that it adds.

        Returns:
            The main path's value, the value before the other's projection, and that projection.
        """
        must(len(node.input_tensors) == len(("main", "other")))
        first, second = (self._seen(value) for value in node.input_tensors)
        for main, other in ((first, second), (second, first)):
            if id(other) in self._before(main):
                return main, other, None
        for main, other in ((first, second), (second, first)):
            made = self._makers.get(id(other))
            if made is None or not is_projection(made.operation):
                continue
            source = self._seen(made.input_tensors[0])
            if id(source) in self._before(main):
                self._take(other)
                return main, source, made.operation
        raise Inexpressible

    def _before(self, value: Any) -> frozenset[int]:
        """Give a value, and all that it is computed from, by identity."""
        known = self._behind.get(id(value))
        if known is None:
            node = self._makers.get(id(value))
            parts = [] if node is None else [self._before(t) for t in node.input_tensors]
            known = self._behind[id(value)] = frozenset({id(value)}).union(*parts)
        return known
