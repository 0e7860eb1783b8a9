"""Replay of MicroAllocator: the arena a model uses and the arena it needs.

Source: tensorflow/lite/micro/micro_allocator.cc, micro_allocation_info.cc and
single_arena_buffer_allocator.cc at tflite-micro 90b983c2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from linnet_profiler.errors import ModelError
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import ABI_SIZES, Abi, AbiSizes
from linnet_profiler.memory.cmsis import cmsis_memory
from linnet_profiler.memory.esp import esp_memory
from linnet_profiler.memory.memory_plan import ALIGNMENT, PlannedBuffer, align_up, memory_plan
from linnet_profiler.memory.reference import OperatorMemory, reference_memory
from linnet_profiler.memory.resource_variables import variable_buffers, variable_names
from linnet_profiler.memory.sizes import BUILTIN_DATA
from linnet_profiler.tflite.model import Model, Operator, Subgraph, Tensor

# kMaxScratchBuffersPerOp: room for requests that the next operator may make.
_SPARE_REQUESTS: Final = 12
# Far beyond any arena, and small enough that the sum of all requests is exact in 64 bits.
_MAX_REQUEST_BYTES: Final = 2**40


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

    Raises:
        ModelError: An operator's options ask for buffers that no arena can hold.
    """
    sizes = ABI_SIZES[abi]
    nodes = _nodes(model, abi, kernels)
    tail = _Tail()
    _interpreter_structs(model, tail, sizes)
    for _, operator, _ in nodes:
        data = BUILTIN_DATA.get(operator.name)
        if data is not None:
            tail.take(*data.on(sizes, wheel=abi is Abi.WHEEL))
    for _, _, memory in nodes:
        if memory.user_data_bytes:
            tail.take(memory.user_data_bytes)
    requests, prepare_peak = _prepare(nodes, tail, sizes)
    if requests:
        tail.take(sizes.scratch_handle * len(requests), sizes.pointer)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.is_variable:
                tail.take(tensor.size_bytes)
    buffers = memory_plan(model, requests)
    head = max((buffer.offset_bytes + buffer.size_bytes for buffer in buffers), default=0)
    planning = _planning_bytes(model, len(requests), len(buffers), sizes)
    planning_peak = align_up(tail.used_bytes, ALIGNMENT) + planning
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
        persistent_bytes=sum(
            memory.user_data_bytes + sum(memory.persistent) for _, _, memory in nodes
        ),
        variable_bytes=sum(
            tensor.size_bytes
            for graph in model.subgraphs
            for tensor in graph.tensors
            if tensor.is_variable
        ),
        buffers=buffers,
    )


_Node = tuple[Subgraph, Operator, OperatorMemory]


def _nodes(model: Model, abi: Abi, kernels: KernelSet) -> list[_Node]:
    """Every operator with what it takes; the first to assign to a variable takes its buffer."""
    assigned = variable_buffers(model)
    nodes = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            memory = operator_memory(graph, operator, abi, kernels)
            size = assigned.get((graph.index, operator.index))
            if size is not None:
                memory = replace(memory, persistent=(*memory.persistent, size))
            _check(operator, memory)
            nodes.append((graph, operator, memory))
    return nodes


def _check(operator: Operator, memory: OperatorMemory) -> None:
    """Refuse what only damaged options ask for."""
    for size in (*memory.persistent, *memory.scratch):
        if not 0 <= size <= _MAX_REQUEST_BYTES:
            raise ModelError(
                f"operator {operator.index} ({operator.name}): its buffers take 0 to "
                f"{_MAX_REQUEST_BYTES} bytes, got {size}"
            )


def _interpreter_structs(model: Model, tail: _Tail, sizes: AbiSizes) -> None:
    tail.take(sizes.arena_allocator, sizes.pointer)
    tail.take(sizes.greedy_planner, sizes.pointer)
    tail.take(sizes.micro_allocator, sizes.pointer)
    variables = len(variable_names(model))
    if variables:
        tail.take(sizes.resource_variables)
        tail.take(sizes.resource_variable * variables)
    tail.take(sizes.builtin_allocator, sizes.pointer)
    tail.take(sizes.subgraph_allocations * len(model.subgraphs), sizes.pointer)
    for graph in model.subgraphs:
        tail.take(sizes.eval_tensor * len(graph.tensors), sizes.pointer)
    for graph in model.subgraphs:
        tail.take(sizes.node_and_registration * len(graph.operators), sizes.pointer)


def _prepare(
    nodes: list[_Node], tail: _Tail, sizes: AbiSizes
) -> tuple[list[tuple[int, int, int]], int]:
    """Scratch requests of all operators, and the largest need while one is prepared.

    TFLM checks persistent allocations against the head alone, so that a firmware may start with
    less and have its TfLiteTensors overwritten; the need counted here holds both.
    """
    requests: list[tuple[int, int, int]] = []
    peak = 0
    for graph, operator, memory in nodes:
        for size in memory.persistent:
            tail.take(size)
        temporary = sizes.scratch_request * (len(requests) + _SPARE_REQUESTS)
        for index in memory.temporary:
            temporary = _with_temporary(temporary, graph.tensors[index], sizes)
        peak = max(peak, tail.used_bytes + temporary)
        requests += [(graph.index, operator.index, size) for size in memory.scratch]
    return requests, peak


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
