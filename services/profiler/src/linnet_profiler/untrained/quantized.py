"""A float32 model as the converter would quantize it: same operators, int8 in place of float32.

For the comparison of both: nothing but types and scales is made up, no values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from linnet_profiler.tflite.model import Model, Subgraph, Tensor

_INT8_BITS: Final = 8
_BIAS: Final = 2
# Axis of the scales of weights, by operator.
_CHANNELS: Final = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0, "DEPTHWISE_CONV_2D": 3}
_NO_VALUES: Final = memoryview(b"")


def quantized(model: Model) -> Model:
    """The int8 variant of a float32 model."""
    saved = sum(
        tensor.size_bytes - tensor.size_bytes // 4
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.is_constant and tensor.dtype == "FLOAT32"
    )
    subgraphs = tuple(_subgraph(graph) for graph in model.subgraphs)
    return replace(model, size_bytes=model.size_bytes - saved, subgraphs=subgraphs)


def _subgraph(graph: Subgraph) -> Subgraph:
    axes: dict[int, int] = {}
    biases: set[int] = set()
    for operator in graph.operators:
        if operator.name in _CHANNELS:
            weights = graph.input(operator, 1)
            if weights is not None:
                axes[weights.index] = _CHANNELS[operator.name]
            biases.update(operator.inputs[_BIAS : _BIAS + 1])
    tensors = tuple(_tensor(tensor, axes, biases) for tensor in graph.tensors)
    return replace(graph, tensors=tensors)


def _tensor(tensor: Tensor, axes: dict[int, int], biases: set[int]) -> Tensor:
    if tensor.dtype != "FLOAT32":
        return tensor
    data = None if tensor.data is None else _NO_VALUES
    if tensor.index in biases and tensor.is_constant:
        channels = tensor.elements
        return replace(
            tensor,
            dtype="INT32",
            data=data,
            scales=range(1, channels + 1),
            zero_points=range(channels),
        )
    axis = axes.get(tensor.index, 0)
    by_channel = tensor.index in axes and tensor.is_constant and len(tensor.shape) > axis
    channels = tensor.shape[axis] if by_channel else 1
    return replace(
        tensor,
        dtype="INT8",
        element_bits=_INT8_BITS,
        data=data,
        # Only how many there are counts, and a range takes no memory, however many share it.
        scales=range(1, channels + 1),
        zero_points=range(channels),
        quantized_dimension=axis,
    )
