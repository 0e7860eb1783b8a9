"""What resource variables take: the table that the firmware makes for them, and their buffers.

Source: tensorflow/lite/micro/micro_resource_variable.cc, kernels/var_handle.cc and
kernels/assign_variable.cc. A handle's tensor points into the operator's own data, so that it is not
planned; a variable's buffer is made by the first operator that assigns to it.
"""

from __future__ import annotations

from linnet_profiler.tflite.model import Model, Operator, Subgraph

Name = tuple[str, str]


def variable_names(model: Model) -> frozenset[Name]:
    """Container and name of every variable: what the firmware's table must have room for."""
    return frozenset(
        _name(operator)
        for graph in model.subgraphs
        for operator in graph.operators
        if operator.name == "VAR_HANDLE"
    )


def handle_tensors(graph: Subgraph) -> frozenset[int]:
    """Tensors that hold a variable's number in the operator's own data."""
    return frozenset(
        index
        for operator in graph.operators
        if operator.name == "VAR_HANDLE"
        for index in operator.outputs
    )


def variable_buffers(model: Model) -> dict[tuple[int, int], int]:
    """Bytes that an assignment allocates, by subgraph and operator; only first assignments do."""
    seen: set[Name] = set()
    found: dict[tuple[int, int], int] = {}
    for graph in model.subgraphs:
        handles: dict[int, Name] = {}
        for operator in graph.operators:
            if operator.name == "VAR_HANDLE":
                handles |= dict.fromkeys(operator.outputs, _name(operator))
            elif operator.name == "ASSIGN_VARIABLE":
                name = handles.get(operator.inputs[0]) if operator.inputs else None
                value = graph.input(operator, 1)
                if name is not None and name not in seen and value is not None:
                    seen.add(name)
                    found[graph.index, operator.index] = value.size_bytes
    return found


def _name(operator: Operator) -> Name:
    return str(operator.options.get("container", "")), str(operator.options.get("shared_name", ""))
