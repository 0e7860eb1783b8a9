"""Replay of MicroAllocator: the arena a model uses and the arena it needs.

Source: tensorflow/lite/micro/micro_allocator.cc, micro_allocation_info.cc and
single_arena_buffer_allocator.cc at tflite-micro 90b983c2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from linnet_profiler.abi import ABI_SIZES, Abi, AbiSizes
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.model import Model, Operator, Subgraph, Tensor
from linnet_profiler.op_memory import BUILTIN_DATA, OperatorMemory, reference_memory
from linnet_profiler.op_memory_cmsis import cmsis_memory
from linnet_profiler.op_memory_esp import esp_memory
from linnet_profiler.parser import called_subgraphs
from linnet_profiler.planner import PlanRequest, greedy_offsets

ALIGNMENT: Final = 16
# kMaxScratchBuffersPerOp: room for requests that the next operator may make.
_SPARE_REQUESTS: Final = 12


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


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """RAM of one model for one ABI and kernel set, in bytes.

    Attributes:
        arena_used_bytes: What arena_used_bytes() reports after AllocateTensors.
        arena_declare_bytes: The smallest arena, a multiple of 16, with which AllocateTensors
            succeeds when the array is aligned to 16.
        planning_peak_bytes: Need while the memory plan is made.
        prepare_peak_bytes: Largest need while an operator is prepared.
        head_bytes: The memory plan: activations and scratch.
        tail_bytes: What stays: structs, per-channel arrays, variables.
        scratch_bytes: Sum of the scratch requests.
        persistent_bytes: Sum of what kernels keep (OpData and arrays).
        variable_bytes: Sum of the variable tensors.
        buffers: The memory plan.
    """

    arena_used_bytes: int
    arena_declare_bytes: int
    planning_peak_bytes: int
    prepare_peak_bytes: int
    head_bytes: int
    tail_bytes: int
    scratch_bytes: int
    persistent_bytes: int
    variable_bytes: int
    buffers: tuple[PlannedBuffer, ...]


def align_up(value: int, alignment: int) -> int:
    """The next multiple of alignment."""
    return -(-value // alignment) * alignment


class _Tail:
    """The part of the arena that grows down from its 16-aligned end."""

    def __init__(self) -> None:
        self.used_bytes = 0

    def take(self, size: int, alignment: int = ALIGNMENT) -> None:
        self.used_bytes = align_up(self.used_bytes + size, alignment)


def operator_memory(
    graph: Subgraph, operator: Operator, abi: Abi, kernels: KernelSet
) -> OperatorMemory:
    """What an operator takes from the arena on an ABI with a kernel set."""
    sizes = ABI_SIZES[abi]
    if kernels.is_cmsis:
        return cmsis_memory(graph, operator, sizes, kernels)
    if kernels.is_esp:
        return esp_memory(graph, operator, sizes, kernels)
    return reference_memory(graph, operator, sizes, wheel=abi is Abi.WHEEL)


def replay(model: Model, abi: Abi, kernels: KernelSet) -> ArenaPlan:
    """Replay MicroInterpreter::AllocateTensors on an arena that is large enough.

    Args:
        model: The parsed model.
        abi: Struct layout of the target.
        kernels: Kernel set the firmware links.

    Returns:
        What the arena holds and what it needs.
    """
    sizes = ABI_SIZES[abi]
    tail = _Tail()
    pointer = sizes.pointer
    tail.take(sizes.arena_allocator, pointer)
    tail.take(sizes.greedy_planner, pointer)
    tail.take(sizes.micro_allocator, pointer)
    tail.take(sizes.builtin_allocator, pointer)
    tail.take(sizes.subgraph_allocations * len(model.subgraphs), pointer)
    for graph in model.subgraphs:
        tail.take(sizes.eval_tensor * len(graph.tensors), pointer)
    for graph in model.subgraphs:
        tail.take(sizes.node_and_registration * len(graph.operators), pointer)
    nodes = [
        (graph, operator, operator_memory(graph, operator, abi, kernels))
        for graph in model.subgraphs
        for operator in graph.operators
    ]
    for _, operator, _ in nodes:
        data = BUILTIN_DATA.get(operator.name)
        if data is not None:
            tail.take(*data[1 if sizes.int_enums else 0])
    persistent = 0
    for _, _, memory in nodes:
        if memory.user_data_bytes:
            tail.take(memory.user_data_bytes)
            persistent += memory.user_data_bytes
    requests: list[tuple[int, int, int]] = []
    prepare_peak = 0
    for graph, operator, memory in nodes:
        for size in memory.persistent:
            tail.take(size)
            persistent += size
        temporary = sizes.scratch_request * (len(requests) + _SPARE_REQUESTS)
        for index in memory.temporary:
            temporary = _with_temporary(temporary, graph.tensors[index], sizes)
        prepare_peak = max(prepare_peak, tail.used_bytes + temporary)
        requests += [(graph.index, operator.index, size) for size in memory.scratch]
    variable = 0
    for graph in model.subgraphs:
        if requests:
            tail.take(sizes.scratch_handle * len(requests), pointer)
        for tensor in graph.tensors:
            if tensor.is_variable:
                tail.take(tensor.size_bytes)
                variable += tensor.size_bytes
    buffers = _plan(model, requests)
    head = max((buffer.offset_bytes + buffer.size_bytes for buffer in buffers), default=0)
    planning_peak = align_up(tail.used_bytes, ALIGNMENT) + _planning_bytes(
        model, len(requests), len(buffers), sizes
    )
    _interpreter_tensors(model.main, tail, sizes)
    used = head + tail.used_bytes
    return ArenaPlan(
        arena_used_bytes=used,
        arena_declare_bytes=align_up(max(used, planning_peak, prepare_peak), ALIGNMENT),
        planning_peak_bytes=planning_peak,
        prepare_peak_bytes=prepare_peak,
        head_bytes=head,
        tail_bytes=tail.used_bytes,
        scratch_bytes=sum(size for _, _, size in requests),
        persistent_bytes=persistent,
        variable_bytes=variable,
        buffers=buffers,
    )


def _with_temporary(temporary: int, tensor: Tensor, sizes: AbiSizes) -> int:
    temporary = align_up(temporary, sizes.pointer) + sizes.tensor
    if tensor.is_quantized:
        temporary = align_up(temporary, sizes.pointer) + sizes.affine_quantization
        temporary = align_up(temporary, 4) + 4 + 4 * len(tensor.scales)
    return temporary


def _planning_bytes(model: Model, requests: int, buffers: int, sizes: AbiSizes) -> int:
    tensors = sum(len(graph.tensors) for graph in model.subgraphs)
    temporary = sizes.scratch_request * (requests + _SPARE_REQUESTS)
    temporary = align_up(temporary, sizes.pointer) + sizes.pointer * len(model.subgraphs)
    temporary = align_up(temporary, sizes.pointer)
    temporary += sizes.allocation_info * (tensors + requests)
    return align_up(temporary, ALIGNMENT) + sizes.planned_buffer * buffers


def _interpreter_tensors(graph: Subgraph, tail: _Tail, sizes: AbiSizes) -> None:
    for places in (graph.inputs, graph.outputs):
        tail.take(sizes.pointer * len(places))
        for index in places:
            tensor = graph.tensors[index]
            tail.take(sizes.tensor, sizes.pointer)
            if tensor.is_quantized:
                tail.take(sizes.affine_quantization, sizes.pointer)
                tail.take(4 + 4 * len(tensor.scales), 4)


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


def _plan(model: Model, requests: list[tuple[int, int, int]]) -> tuple[PlannedBuffer, ...]:
    lifetimes = _Lifetimes(model, requests)
    wanted: list[PlanRequest] = []
    described: list[tuple[str, BufferKind, int, int, int]] = []
    offline = iter(model.offline_plan or ())
    for graph in model.subgraphs:
        writers = {
            index: operator.index for operator in graph.operators for index in operator.outputs
        }
        for tensor in graph.tensors:
            offset = next(offline, -1)
            fixed_variable = tensor.is_variable and offset >= 0
            if tensor.is_constant or tensor.size_bytes == 0:
                continue
            if tensor.is_variable and not fixed_variable:
                continue
            first, last = lifetimes.tensors[graph.index, tensor.index]
            size = align_up(tensor.size_bytes, ALIGNMENT)
            wanted.append(PlanRequest(size, first, last, offset))
            writer = writers.get(tensor.index, -1)
            described.append((tensor.name, _kind(graph, tensor), graph.index, tensor.index, writer))
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


def _kind(graph: Subgraph, tensor: Tensor) -> BufferKind:
    if tensor.index in graph.inputs:
        return BufferKind.INPUT
    return BufferKind.OUTPUT if tensor.index in graph.outputs else BufferKind.ACTIVATION
