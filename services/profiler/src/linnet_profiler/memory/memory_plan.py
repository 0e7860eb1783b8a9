"""The memory plan: when each tensor and scratch buffer lives, and where it lies.

Source: tensorflow/lite/micro/micro_allocation_info.cc at tflite-micro 90b983c2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from linnet_profiler.memory.planner import PlanRequest, greedy_offsets
from linnet_profiler.memory.resource_variables import handle_tensors
from linnet_profiler.tflite.control_flow import called_subgraphs
from linnet_profiler.tflite.model import Model, Subgraph

ALIGNMENT: Final = 16


def align_up(value: int, alignment: int) -> int:
    """The next multiple of alignment."""
    return -(-value // alignment) * alignment


class BufferKind(StrEnum):
    """What a planned buffer holds."""

    INPUT = "input"
    OUTPUT = "output"
    ACTIVATION = "activation"
    SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class PlannedBuffer:
    """One buffer of the memory plan.

    Attributes:
        name: The tensor's name, or the operator that asked for scratch.
        kind: What it holds.
        subgraph: Index of its subgraph.
        tensor: Index of the tensor; -1 for scratch.
        operator: Index of the operator that writes it or asked for it; -1 for an input.
        offset_bytes: Start in the arena's head.
        size_bytes: Size, rounded up to 16.
        first_used: First scope (0: before the first operator, i+1: operator i).
        last_used: Last scope, inclusive.
    """

    name: str
    kind: BufferKind
    subgraph: int
    tensor: int
    operator: int
    offset_bytes: int
    size_bytes: int
    first_used: int
    last_used: int


class _Lifetimes:
    """First and last scope of every tensor and scratch request."""

    def __init__(self, model: Model, requests: list[tuple[int, int, int]]) -> None:
        self.model = model
        self.scope = 0
        self.tensors = {
            (graph.index, tensor.index): [-1, -1]
            for graph in model.subgraphs
            for tensor in graph.tensors
        }
        self.scratch = [[-1, -1] for _ in requests]
        self.by_node: dict[tuple[int, int], list[int]] = {}
        for number, (graph_index, operator_index, _) in enumerate(requests):
            self.by_node.setdefault((graph_index, operator_index), []).append(number)
        self._walk(model.main)

    def _create(self, graph: int, tensor: int) -> None:
        self.tensors[graph, tensor][:] = [self.scope, self.scope]

    def _use(self, graph: int, tensor: int) -> None:
        self.tensors[graph, tensor][1] = self.scope

    def _walk(self, graph: Subgraph) -> None:
        for index in graph.inputs + graph.outputs:
            self._create(graph.index, index)
        for operator in graph.operators:
            self.scope += 1
            start = self.scope
            for index in operator.outputs:
                self._create(graph.index, index)
            for called in called_subgraphs(operator):
                self.scope += 1
                self._walk(self.model.subgraphs[called])
            for index in operator.inputs:
                if index >= 0:
                    self._use(graph.index, index)
            for index in operator.outputs:
                self._use(graph.index, index)
            for number in self.by_node.get((graph.index, operator.index), ()):
                self.scratch[number][:] = [start, self.scope]
        for index in graph.outputs:
            self._use(graph.index, index)


def memory_plan(model: Model, requests: list[tuple[int, int, int]]) -> tuple[PlannedBuffer, ...]:
    """Every buffer of the head with its lifetime and offset.

    Args:
        model: The parsed model; its offline plan is honoured.
        requests: Scratch requests as (subgraph, operator, bytes), in the order made.
    """
    lifetimes = _Lifetimes(model, requests)
    wanted: list[PlanRequest] = []
    described: list[tuple[str, BufferKind, int, int, int]] = []
    offline = iter(model.offline_plan or ())
    for graph in model.subgraphs:
        handles = handle_tensors(graph)
        kinds = dict.fromkeys(graph.outputs, BufferKind.OUTPUT)
        kinds |= dict.fromkeys(graph.inputs, BufferKind.INPUT)
        for tensor in graph.tensors:
            offset = next(offline, -1)
            fixed_variable = tensor.is_variable and offset >= 0
            if tensor.is_constant or tensor.size_bytes == 0 or tensor.index in handles:
                continue
            if tensor.is_variable and not fixed_variable:
                continue
            first, last = lifetimes.tensors[graph.index, tensor.index]
            size = align_up(tensor.size_bytes, ALIGNMENT)
            wanted.append(PlanRequest(size, first, last, offset))
            writer = graph.writers.get(tensor.index, (-1,))[-1]
            kind = kinds.get(tensor.index, BufferKind.ACTIVATION)
            described.append((tensor.name, kind, graph.index, tensor.index, writer))
    for number, (graph_index, operator_index, size) in enumerate(requests):
        first, last = lifetimes.scratch[number]
        wanted.append(PlanRequest(align_up(size, ALIGNMENT), first, last))
        operator = model.subgraphs[graph_index].operators[operator_index]
        described.append(
            (
                f"{operator.name} scratch",
                BufferKind.SCRATCH,
                graph_index,
                -1,
                operator_index,
            )
        )
    offsets = greedy_offsets(wanted)
    return tuple(
        PlannedBuffer(
            name=name,
            kind=kind,
            subgraph=graph_index,
            tensor=tensor_index,
            operator=writer,
            offset_bytes=offset,
            size_bytes=request.size_bytes,
            first_used=request.first_used,
            last_used=request.last_used,
        )
        for (name, kind, graph_index, tensor_index, writer), request, offset in zip(
            described, wanted, offsets, strict=True
        )
    )
