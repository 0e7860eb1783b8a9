"""What a .tflite file holds: subgraphs of operators and tensors, constants in place.

Field numbers follow tensorflow/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

Option = int | float | bool | str
# TFLM counts bytes in 32 bits; a tensor beyond this can't exist on any target.
MAX_TENSOR_BYTES: Final = 2**31 - 1
_SMALL_CONSTANT: Final = 64

_DTYPES: Final[dict[str, str]] = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT32": "<i4",
    "UINT8": "u1",
    "INT64": "<i8",
    "BOOL": "u1",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT32": "<u4",
    "UINT16": "<u2",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: Place in its subgraph.
        name: As in the file, cut at 256 characters.
        shape: Dimensions; () is a scalar.
        dtype: Name of the schema's TensorType.
        element_bits: Bits an element takes (4 for INT4).
        data: Bytes of a constant; None for a tensor computed at run time.
        scales: Quantization scales: none, one, or one per channel.
        zero_points: As many as the file holds (one, or one per channel).
        quantized_dimension: Axis that per-channel scales follow.
        is_variable: Keeps its value between inferences.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    element_bits: int
    data: memoryview | None = field(repr=False)
    scales: Sequence[float]
    zero_points: Sequence[int]
    quantized_dimension: int
    is_variable: bool

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes that the elements take; two INT4 elements share one."""
        return (self.elements * self.element_bits + 7) // 8

    @property
    def is_constant(self) -> bool:
        """True where the file holds the values."""
        return self.data is not None

    @property
    def is_quantized(self) -> bool:
        """True where the interpreter builds quantization data: it has scales and zero points."""
        return bool(self.scales) and bool(self.zero_points)

    def values(self) -> npt.NDArray[np.generic] | None:
        """A constant's values in the tensor's own shape; None where there are none to read."""
        if self.data is None or self.dtype not in _DTYPES or len(self.data) < self.size_bytes:
            return None
        flat = np.frombuffer(self.data[: self.size_bytes], dtype=_DTYPES[self.dtype])
        return flat.reshape(self.shape)

    def integers(self) -> tuple[int, ...] | None:
        """A small integer constant (axes, paddings, new shape) as a tuple, at most 64 long."""
        if self.elements > _SMALL_CONSTANT:
            return None
        values = self.values()
        return None if values is None else tuple(int(value) for value in values.ravel())


@dataclass(frozen=True, slots=True)
class Operator:
    """One node.

    Attributes:
        index: Place in its subgraph.
        name: Builtin name such as CONV_2D, or CUSTOM.
        custom_code: Name of a custom operator, else "".
        version: Version in the operator code.
        inputs: Tensor indices; -1 is an input left out.
        outputs: Tensor indices.
        intermediates: Tensor indices (quantization of LSTM's inner values).
        options: Builtin options by name, defaults filled in; empty where the operator has none.
    """

    index: int
    name: str
    custom_code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...] = ()
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))

    def number(self, name: str, default: int = 0) -> int:
        """An integer option, or the default where the operator has no such option."""
        value = self.options.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    @property
    def activation(self) -> str:
        """The fused activation, "none" where there is none."""
        return str(self.options.get("activation", "none"))


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One subgraph, in execution order.

    Attributes:
        index: Place in the file.
        name: As in the file.
        tensors: By index.
        inputs: Tensor indices.
        outputs: Tensor indices.
        operators: In execution order, each at its own index.
        writers: Tensor -> indices of the operators that write it, in order.
    """

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    writers: Mapping[int, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note which operators write each tensor, in order, so that no one has to search."""
        found: dict[int, list[int]] = {}
        for operator in self.operators:
            for tensor in dict.fromkeys(operator.outputs):
                found.setdefault(tensor, []).append(operator.index)
        object.__setattr__(self, "writers", {tensor: tuple(at) for tensor, at in found.items()})

    def input(self, operator: Operator, place: int) -> Tensor | None:
        """An operator's input by place; None where it is left out."""
        if place >= len(operator.inputs) or operator.inputs[place] < 0:
            return None
        return self.tensors[operator.inputs[place]]

    def output(self, operator: Operator, place: int = 0) -> Tensor | None:
        """An operator's output by place."""
        if place >= len(operator.outputs):
            return None
        return self.tensors[operator.outputs[place]]


@dataclass(frozen=True, slots=True)
class Model:
    """A parsed model.

    Attributes:
        size_bytes: Length of the file.
        description: As in the file.
        subgraphs: The main one first.
        offline_plan: Offsets of the metadata OfflineMemoryAllocation, one per tensor over all
            subgraphs (-1: planned online); None where the file has none.
    """

    size_bytes: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    offline_plan: tuple[int, ...] | None

    @property
    def main(self) -> Subgraph:
        """The subgraph that an invocation runs."""
        return self.subgraphs[0]

    def operator_kinds(self) -> tuple[str, ...]:
        """Distinct operator names over all subgraphs, sorted: what a resolver must register."""
        return tuple(sorted({op.name for graph in self.subgraphs for op in graph.operators}))
