"""In which order TensorFlow's importer walks the graph that the exporter makes of a device plan.

Reverse postorder of a depth-first walk from the graph's roots, readers by descending name (source:
tensorflow/core/graph/algorithm.cc, DFS and GetReversePostOrder with a comparator by name). Names
are those that TensorFlow gives: the kind of operator, then _1, _2 and so on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from linnet_ml.device_plan import INPUT, DevicePlan, OpKind
from linnet_ml.spec import Activation

_ROOT: Final = ""
_INPUT: Final = "features"
_KINDS: Final = {
    OpKind.CONV: ("Conv2D", "add"),
    OpKind.DEPTHWISE: ("depthwise", "add"),
    OpKind.DENSE: ("MatMul", "add"),
    OpKind.MAX_POOL: ("MaxPool2d",),
    OpKind.AVERAGE_POOL: ("AvgPool2D",),
    OpKind.AFFINE: ("mul", "add"),
    OpKind.ADD: ("add",),
    OpKind.RESHAPE: ("Reshape",),
    OpKind.SOFTMAX: ("Softmax",),
    OpKind.ACTIVATION: (),
}
_ACTIVATIONS: Final = {
    Activation.RELU: "Relu",
    Activation.RELU6: "Relu6",
    Activation.TANH: "Tanh",
    Activation.SIGMOID: "Sigmoid",
    Activation.LEAKY_RELU: "LeakyRelu",
}


class _Names:
    """The importer's graph: readers of each operator, by name."""

    def __init__(self) -> None:
        self.readers: dict[str, set[str]] = defaultdict(set)
        self.readers[_ROOT].add(_INPUT)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, kind: str, *sources: str) -> str:
        """Add an operator; a product without a second source reads a constant of its own."""
        count = self._counts[kind]
        self._counts[kind] += 1
        name = f"{kind}_{count}" if count else kind
        for source in sources:
            self.readers[source].add(name)
        # Other constants sort before the input, which reaches all that they do.
        if kind == "mul" and len(sources) == 1:
            self.readers[_ROOT].add(f"{name}/y")
            self.readers[f"{name}/y"].add(name)
        return name

    def chain(self, kinds: Iterable[str], source: str, *others: str) -> str:
        """Add operators one after the other; the first reads the others too."""
        for kind in kinds:
            source = self.add(kind, source, *others)
            others = ()
        return source

    def hard_swish(self, source: str) -> str:
        """Add x * (relu6(x + 3) / 6)."""
        return self.add("mul", source, self.chain(("add", "Relu6", "mul"), source))

    def order(self) -> dict[str, int]:
        """Place of each operator in the walk."""
        done: list[str] = []
        seen: set[str] = {_ROOT}
        stack = [(_ROOT, sorted(self.readers[_ROOT]))]
        while stack:
            name, waiting = stack[-1]
            while waiting and waiting[-1] in seen:
                waiting.pop()
            if not waiting:
                done.append(name)
                stack.pop()
                continue
            following = waiting.pop()
            seen.add(following)
            stack.append((following, sorted(self.readers[following])))
        return {name: place for place, name in enumerate(reversed(done))}


def import_order(plan: DevicePlan) -> list[tuple[int, int, int]]:
    """Places of each operator of a plan: its first part, its last, and its activation."""
    names = _Names()
    results: list[str] = []
    parts: list[tuple[str, str, str]] = []
    for op in plan.ops:
        source = _INPUT if op.source == INPUT else results[op.source]
        other = _INPUT if op.other == INPUT else results[op.other]
        kinds = _KINDS[op.kind]
        others = (other,) if op.kind is OpKind.ADD else ()
        first = names.chain(kinds[:1], source, *others)
        last = names.chain(kinds[1:], first)
        if op.activation is Activation.LINEAR:
            result = last
        elif op.activation is Activation.HARD_SWISH:
            result = names.hard_swish(last)
        else:
            result = names.add(_ACTIVATIONS[op.activation], last)
        results.append(result)
        parts.append((first, last, result))
    place = names.order()
    return [(place[first], place[last], place[result]) for first, last, result in parts]
