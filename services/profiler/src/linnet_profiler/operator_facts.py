"""What holds of an operator on every target: shapes, types, MACs, parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linnet_profiler.cost.operators import macs_of, valid_macs_of
from linnet_profiler.cost.timing import streamed_bytes
from linnet_profiler.tflite.model import Model, Operator, Subgraph


@dataclass(frozen=True, slots=True)
class OperatorFacts:
    """What holds of an operator on every target."""

    graph: Subgraph
    operator: Operator
    dtype: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    valid_macs: int
    parameters: int
    streamed_bytes: int


_WEIGHTED: Final = frozenset(
    {
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "TRANSPOSE_CONV",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "PRELU",
        "ADD",
        "MUL",
        "SUB",
        "BATCH_MATMUL",
    }
)


def facts_of(graph: Subgraph, operator: Operator) -> OperatorFacts:
    """Facts of one operator."""
    place = {"TRANSPOSE_CONV": 2, "SPLIT": 1}.get(operator.name, 0)
    image, output = graph.input(operator, place), graph.output(operator)
    constants = (graph.tensors[index] for index in operator.inputs if index >= 0)
    weighted = operator.name in _WEIGHTED
    return OperatorFacts(
        graph=graph,
        operator=operator,
        dtype="" if image is None else image.dtype.lower(),
        input_shape=() if image is None else image.shape,
        output_shape=() if output is None else output.shape,
        macs=macs_of(graph, operator),
        valid_macs=valid_macs_of(graph, operator),
        parameters=sum(tensor.elements for tensor in constants if tensor.is_constant)
        if weighted
        else 0,
        streamed_bytes=streamed_bytes(graph, operator),
    )


def precision_of(model: Model) -> str:
    """int8, int8 with float input and output, float32, int16 or mixed."""
    graph = model.main
    inputs = {graph.tensors[index].dtype for index in graph.inputs}
    weighted = {
        tensor.dtype
        for operator in graph.operators
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        for tensor in [graph.input(operator, 0)]
        if tensor is not None
    } or inputs
    if weighted == {"FLOAT32"}:
        return "float32"
    if weighted == {"INT16"}:
        return "int16"
    if weighted == {"INT8"}:
        return "int8 with float input and output" if "FLOAT32" in inputs else "int8"
    return "mixed"
