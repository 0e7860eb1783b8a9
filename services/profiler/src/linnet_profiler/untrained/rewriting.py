"""How TensorFlow Lite's converter rewrites a graph: what joins, moves and goes.

Found by converting, and held to it by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from linnet_ml.device_plan import INPUT

from linnet_profiler.tflite.model import Option

Shape = tuple[int, ...]

_JOINING: Final = {"RELU": "relu", "RELU6": "relu6"}
_WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_MOVED: Final = ("RELU", "RELU6", "TANH", "LOGISTIC")
_FUSING: Final = frozenset(
    {
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "ADD",
        "MUL",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the converted model.

    Attributes:
        name: As in the schema.
        sources: Nodes whose outputs it reads, by number; INPUT for the model's input.
        shape: Shape of its output, batch included.
        constants: Shapes of its weights and bias, or of its second operand.
        options: Builtin options, the fused activation among them.
        place: Where the importer meets its last part.
        shares: The node whose constants it reads; INPUT where they are its own.
    """

    name: str
    sources: tuple[int, ...]
    shape: Shape
    constants: tuple[Shape, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    place: tuple[int, int] = (0, 0)
    shares: int = INPUT

    @property
    def fused(self) -> str:
        """The fused activation."""
        return str(self.options.get("activation", "none"))


class Rewriting:
    """Nodes by number, rewritten in place."""

    def __init__(self, input_shape: Shape) -> None:
        """Start with no nodes.

        Args:
            input_shape: Shape of the model's input, batch included.
        """
        self._input_shape = input_shape
        self._nodes: dict[int, Node] = {}
        self.result = INPUT

    def add(self, node: Node) -> int:
        """Add a node that reads earlier ones; the last added gives the model's output."""
        self.result = len(self._nodes)
        self._nodes[self.result] = node
        return self.result

    def _shape(self, number: int) -> Shape:
        return self._input_shape if number == INPUT else self._nodes[number].shape

    def _readers(self, number: int) -> list[int]:
        found = [at for at, node in self._nodes.items() if number in node.sources]
        return [*found, *([INPUT] if number == self.result else [])]

    def _redirect(self, old: int, new: int) -> None:
        """Have everything that reads one node read another, and drop the first."""
        for at, node in self._nodes.items():
            if old in node.sources:
                sources = tuple(new if source == old else source for source in node.sources)
                self._nodes[at] = replace(node, sources=sources)
        if self.result == old:
            self.result = new
        del self._nodes[old]

    def rewrite(self, *rules: Callable[[int, Node], bool]) -> None:
        """Apply rules until none can be."""
        while any(
            rule(at, self._nodes[at])
            for rule in rules
            for at in sorted(self._nodes, reverse=True)
            if at in self._nodes
        ):
            pass

    def repeat(self, at: int, node: Node) -> bool:
        """A ReLU of a ReLU is one."""
        if node.name not in ("RELU", "RELU6") or node.sources[0] == INPUT:
            return False
        before = self._nodes[node.sources[0]]
        if node.name not in (before.name, before.fused.upper()):
            return False
        self._redirect(at, node.sources[0])
        return True

    def merge(self, at: int, node: Node) -> bool:
        """A reshape of a reshape is one; one that changes nothing is none."""
        if node.name != "RESHAPE":
            return False
        source = node.sources[0]
        if self._shape(source) == node.shape:
            self._redirect(at, source)
            return True
        if source == INPUT or self._nodes[source].name != "RESHAPE":
            return False
        self._nodes[at] = replace(node, sources=self._nodes[source].sources)
        if not self._readers(source):
            del self._nodes[source]
        return True

    def fuse(self, at: int, node: Node) -> bool:
        """A ReLU joins the operator before it; a dense layer that others read too is doubled."""
        fused = _JOINING.get(node.name)
        if fused is None or node.sources[0] == INPUT:
            return False
        source = node.sources[0]
        before = self._nodes[source]
        alone = self._readers(source) == [at]
        if before.name not in _FUSING or before.fused != "none":
            return False
        options = {**before.options, "activation": fused}
        if not alone and before.name == "FULLY_CONNECTED":
            self._nodes[at] = replace(before, options=options, place=node.place, shares=source)
            return True
        if not alone:
            return False
        self._nodes[source] = replace(before, options=options, place=node.place)
        self._redirect(at, source)
        return True

    def swap(self, at: int, node: Node) -> bool:
        """An elementwise operator goes before the reshape it follows, where that changes nothing.

        These are most activations, the sum of a tensor and itself, and a factor or a shift by
        channel where the reshape keeps the channels.
        """
        source = node.sources[0]
        before = None if source == INPUT else self._nodes[source]
        if before is None or before.name != "RESHAPE" or self._readers(source) != [at]:
            return False
        doubled = node.name == "ADD" and len(node.sources) > 1 and len(set(node.sources)) == 1
        channels = self._shape(before.sources[0])[-1:]
        by_channel = node.name in ("ADD", "MUL") and node.constants == (channels,)
        if not (doubled or by_channel or node.name in _MOVED):
            return False
        self._nodes[source] = replace(
            node,
            sources=before.sources * len(node.sources),
            shape=self._shape(before.sources[0]),
        )
        self._nodes[at] = replace(before, sources=(source,), place=(node.place[0], 1))
        return True

    def flatten(self, at: int, node: Node) -> bool:
        """A dense layer reads past a reshape that keeps the channels."""
        source = node.sources[0]
        if node.name != "FULLY_CONNECTED" or source == INPUT:
            return False
        before = self._nodes[source]
        if before.name != "RESHAPE" or self._shape(before.sources[0])[-1] != before.shape[-1]:
            return False
        self._nodes[at] = replace(node, sources=before.sources)
        if not self._readers(source):
            del self._nodes[source]
        return True

    def move_bias(self, at: int, node: Node) -> bool:
        """A linear dense layer's bias joins that of the linear dense layer after it."""
        if node.name != "FULLY_CONNECTED" or len(node.constants) == 1 or self._activated(at):
            return False
        source = node.sources[0]
        before = None if source == INPUT else self._nodes[source]
        if before is None or before.name != node.name or len(before.constants) == 1:
            return False
        if self._readers(source) != [at]:
            return False
        self._nodes[source] = replace(before, constants=before.constants[:1])
        return True

    def _activated(self, at: int) -> bool:
        return any(
            reader != INPUT and self._nodes[reader].name in ("RELU", "RELU6")
            for reader in self._readers(at)
        )

    def fold(self, at: int, node: Node) -> bool:
        """A factor and a shift before a dense layer join its weights.

        So do those of a single channel before a convolution without padding.
        """
        if node.name not in _WEIGHTED or node.sources[0] == INPUT:
            return False
        shift = node.sources[0]
        if not self._foldable(shift, "ADD") or len(node.constants) < len(("weights", "bias")):
            return False
        factor = self._nodes[shift].sources[0]
        if factor == INPUT or not self._foldable(factor, "MUL"):
            return False
        scalar = self._nodes[factor].constants[0] == (1,)
        if node.name != "FULLY_CONNECTED" and not (scalar and node.options["padding"] == "valid"):
            return False
        self._nodes[at] = replace(node, sources=self._nodes[factor].sources)
        for unread in (shift, factor):
            if not self._readers(unread):
                del self._nodes[unread]
        return True

    def _foldable(self, number: int, name: str) -> bool:
        node = self._nodes[number]
        return node.name == name and bool(node.constants) and node.fused == "none"

    def leave_out_flattening(self) -> None:
        """Drop the reshapes that only dense layers read; the exporter does it after converting."""
        for at, node in list(self._nodes.items()):
            readers = self._readers(at)
            flattens = INPUT not in readers and all(
                self._nodes[reader].name == "FULLY_CONNECTED" for reader in readers
            )
            if node.name == "RESHAPE" and flattens:
                self._redirect(at, node.sources[0])

    def in_order(self) -> tuple[Node, ...]:
        """The nodes as the importer meets them."""
        order = sorted(self._nodes, key=lambda number: self._nodes[number].place)
        place = {number: index for index, number in enumerate(order)} | {INPUT: INPUT}
        return tuple(
            replace(
                self._nodes[number],
                sources=tuple(place[source] for source in self._nodes[number].sources),
                shares=place[self._nodes[number].shares],
            )
            for number in order
        )
