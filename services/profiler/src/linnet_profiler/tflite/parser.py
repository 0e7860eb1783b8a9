"""Reads a .tflite file into a `Model`, every index and offset checked, time and memory bounded."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from linnet_profiler.errors import ModelError
from linnet_profiler.tflite.control_flow import check_control_flow
from linnet_profiler.tflite.flatbuffer import Buffer, Table
from linnet_profiler.tflite.model import (
    MAX_TENSOR_BYTES,
    Model,
    Operator,
    Option,
    Subgraph,
    Tensor,
)
from linnet_profiler.tflite.schema import (
    ACTIVATIONS,
    CUSTOM,
    OPERATOR_NAMES,
    OPTION_FIELDS,
    PADDINGS,
    SCHEMA_VERSION,
    TENSOR_TYPES,
)

MAX_MODEL_BYTES: Final = 64 * 1024 * 1024
MAX_TENSORS: Final = 8192
MAX_OPERATORS: Final = 4096
MAX_SUBGRAPHS: Final = 64
MAX_RANK: Final = 8
MAX_BUFFERS: Final = 32_768
MAX_METADATA: Final = 256
# Inputs, outputs and intermediates of all operators and subgraphs together.
MAX_PLACES: Final = 65_536
# Numbers, tables and characters that a file may hold besides a quarter of its length.
_LEAST_BUDGET: Final = 200_000
_OFFLINE_PLAN: Final = "OfflineMemoryAllocation"


def parse(data: bytes) -> Model:
    """Read a .tflite file.

    Args:
        data: The whole file, at most 64 MiB.

    Returns:
        The model; constants stay views into `data`.

    Raises:
        ModelError: The bytes are no TFLite model of schema version 3, or are damaged; the message
            names the part and what was found.
    """
    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"model: at most {MAX_MODEL_BYTES} bytes, got {len(data)}")
    if data[4:8] != b"TFL3":
        raise ModelError(
            f"model: expected a .tflite file (identifier TFL3 at byte 4), got {data[4:8]!r}"
        )
    buffer = Buffer(bytes(data), budget=_LEAST_BUDGET + len(data) // 4)
    root = buffer.root()
    version = root.integer(0, "u32")
    if version != SCHEMA_VERSION:
        raise ModelError(f"model: expected schema version {SCHEMA_VERSION}, got {version}")
    buffers = _constants(root, buffer)
    codes = [_code(table) for table in root.children(1, "operator code", MAX_OPERATORS)]
    tables = root.children(2, "subgraph", MAX_SUBGRAPHS)
    if not tables:
        raise ModelError(f"model: expected 1 to {MAX_SUBGRAPHS} subgraphs, got 0")
    room = _Room(MAX_TENSORS, MAX_OPERATORS, MAX_PLACES)
    subgraphs = tuple(
        _subgraph(index, table, buffers, codes, room) for index, table in enumerate(tables)
    )
    check_control_flow(subgraphs)
    tensor_count = sum(len(graph.tensors) for graph in subgraphs)
    return Model(
        size_bytes=len(data),
        description=root.text(3, "description"),
        subgraphs=subgraphs,
        offline_plan=_offline_plan(root, buffers, tensor_count),
    )


class _Room:
    """How many tensors, operators and uses of tensors a file may still hold."""

    def __init__(self, tensors: int, operators: int, places: int) -> None:
        self.tensors = tensors
        self.operators = operators
        self.places = places

    def take(self, tensors: int, operators: int) -> None:
        self.tensors -= tensors
        self.operators -= operators
        if self.tensors < 0 or self.operators < 0:
            raise ModelError(f"model: at most {MAX_TENSORS} tensors and {MAX_OPERATORS} operators")

    def use(self, places: int, what: str) -> None:
        self.places -= places
        if self.places < 0:
            raise ModelError(f"{what}: a model may use tensors at most {MAX_PLACES} times")


def _constants(root: Table, buffer: Buffer) -> list[memoryview | None]:
    view = memoryview(buffer.data)
    constants: list[memoryview | None] = []
    for number, table in enumerate(root.children(4, "buffer", MAX_BUFFERS)):
        what = f"buffer {number}"
        span = table.span(0, 1, what)
        offset, size = table.integer(1, "u64"), table.integer(2, "u64")
        if span is not None and span[1] > 0:
            constants.append(view[span[0] : span[0] + span[1]])
        elif offset > 1:
            # Files over 2 GB keep buffers after the FlatBuffer; TFLM can't read those.
            if offset + size > len(buffer.data):
                raise ModelError(f"{what}: {size} bytes at {offset} leave the file")
            constants.append(view[offset : offset + size])
        else:
            constants.append(None)
    return constants


def _code(table: Table) -> tuple[str, str, int]:
    # The larger of the two fields holds the code: converters before schema 3a wrote only the byte.
    number = max(table.integer(0, "i8"), table.integer(3, "i32"))
    custom = table.text(1, table.what)
    if number == CUSTOM:
        return "CUSTOM", custom, table.integer(2, "i32", 1)
    if not 0 <= number < len(OPERATOR_NAMES):
        return f"BUILTIN_{number}", "", table.integer(2, "i32", 1)
    return OPERATOR_NAMES[number], "", table.integer(2, "i32", 1)


def _subgraph(
    index: int,
    table: Table,
    buffers: list[memoryview | None],
    codes: list[tuple[str, str, int]],
    room: _Room,
) -> Subgraph:
    what = f"subgraph {index}"
    tensor_span = table.span(0, 4, f"{what}: tensors")
    operator_span = table.span(3, 4, f"{what}: operators")
    room.take(tensor_span[1] if tensor_span else 0, operator_span[1] if operator_span else 0)
    tensors = tuple(
        _tensor(number, child, buffers)
        for number, child in enumerate(table.children(0, f"{what}: tensor", MAX_TENSORS))
    )
    operators = tuple(
        _operator(number, child, codes, len(tensors), room)
        for number, child in enumerate(table.children(3, f"{what}: operator", MAX_OPERATORS))
    )
    return Subgraph(
        index=index,
        name=table.text(4, what),
        tensors=tensors,
        inputs=_indices(table, 1, f"{what}: inputs", len(tensors), room),
        outputs=_indices(table, 2, f"{what}: outputs", len(tensors), room),
        operators=operators,
    )


def _tensor(index: int, table: Table, buffers: list[memoryview | None]) -> Tensor:
    what = table.what
    rank = table.length(0, 4, f"{what}: shape")
    if rank > MAX_RANK:
        raise ModelError(f"{what}: at most {MAX_RANK} dimensions, got {rank}")
    shape = table.integers(0, "i32", f"{what}: shape") or ()
    if any(size < 0 for size in shape):
        raise ModelError(f"{what}: dimensions must be known, got {list(shape)}")
    number = table.integer(1, "i8")
    if number not in TENSOR_TYPES:
        raise ModelError(f"{what}: unknown element type {number}")
    dtype, bits = TENSOR_TYPES[number]
    place = table.integer(2, "u32")
    if place >= len(buffers) > 0:
        raise ModelError(f"{what}: buffer {place} of {len(buffers)}")
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    dimension = 0
    quantization = table.child(4, f"{what}: quantization")
    if quantization is not None:
        scales = tuple(
            float(scale) for scale in quantization.numbers(2, "f32", f"{what}: scales") or ()
        )
        zero_points = quantization.integers(3, "i64", f"{what}: zero points") or ()
        dimension = quantization.integer(6, "i32")
    tensor = Tensor(
        index=index,
        name=table.text(3, what),
        shape=shape,
        dtype=dtype,
        element_bits=bits,
        data=buffers[place] if buffers else None,
        scales=scales,
        zero_points=zero_points,
        quantized_dimension=dimension,
        is_variable=bool(table.scalar(5, "bool", False)),
    )
    if tensor.size_bytes > MAX_TENSOR_BYTES:
        raise ModelError(f"{what}: {tensor.size_bytes} bytes, at most {MAX_TENSOR_BYTES}")
    # Texts and handles have no size of their own.
    if tensor.elements > MAX_TENSOR_BYTES:
        raise ModelError(f"{what}: {tensor.elements} elements, at most {MAX_TENSOR_BYTES}")
    if tensor.data is not None and bits and len(tensor.data) < tensor.size_bytes:
        raise ModelError(
            f"{what}: its buffer holds {len(tensor.data)} bytes, its shape takes "
            f"{tensor.size_bytes}"
        )
    return tensor


def _operator(
    index: int, table: Table, codes: list[tuple[str, str, int]], tensor_count: int, room: _Room
) -> Operator:
    what = table.what
    place = table.integer(0, "u32")
    if place >= len(codes):
        raise ModelError(f"{what}: operator code {place} of {len(codes)}")
    name, custom, version = codes[place]
    return Operator(
        index=index,
        name=name,
        custom_code=custom,
        version=version,
        inputs=_indices(table, 1, f"{what}: inputs", tensor_count, room, lowest=-1),
        outputs=_indices(table, 2, f"{what}: outputs", tensor_count, room),
        intermediates=_indices(table, 8, f"{what}: intermediates", tensor_count, room, lowest=-1),
        options=MappingProxyType(_options(name, table)),
    )


def _indices(
    table: Table, field_id: int, what: str, tensor_count: int, room: _Room, *, lowest: int = 0
) -> tuple[int, ...]:
    room.use(table.length(field_id, 4, what), what)
    numbers = table.integers(field_id, "i32", what) or ()
    for number in numbers:
        if not lowest <= number < tensor_count:
            raise ModelError(f"{what}: tensor {number} of {tensor_count}")
    return numbers


def _options(name: str, table: Table) -> dict[str, Option]:
    layout = OPTION_FIELDS.get(name)
    if layout is None:
        return {}
    union, fields = layout
    # TFLM reads options of another kind as absent, so that its defaults hold.
    child = table.child(4, f"{table.what}: options") if table.integer(3, "u8") == union else None
    options: dict[str, Option] = {}
    for option, field_id, kind, default in fields:
        if kind == "text":
            options[option] = "" if child is None else child.text(field_id, table.what)
            continue
        value = default if child is None else child.scalar(field_id, kind, default)
        if option == "activation":
            options[option] = _named(ACTIVATIONS, int(value), f"{table.what}: activation")
        elif option == "padding":
            options[option] = _named(PADDINGS, int(value), f"{table.what}: padding")
        else:
            options[option] = value
    return options


def _named(names: tuple[str, ...], value: int, what: str) -> str:
    if not 0 <= value < len(names):
        raise ModelError(f"{what}: unknown value {value}")
    return names[value]


def _offline_plan(
    root: Table, buffers: list[memoryview | None], tensor_count: int
) -> tuple[int, ...] | None:
    plan: tuple[int, ...] | None = None
    for table in root.children(6, "metadata", MAX_METADATA):
        if table.text(0, "metadata") != _OFFLINE_PLAN:
            continue
        place = table.integer(1, "u32")
        if place >= len(buffers):
            raise ModelError(f"metadata {_OFFLINE_PLAN}: buffer {place} of {len(buffers)}")
        data = buffers[place]
        words = memoryview(data or b"")[: len(data or b"") // 4 * 4].cast("i")
        if len(words) < 3 + tensor_count or words[2] != tensor_count:
            raise ModelError(
                f"metadata {_OFFLINE_PLAN}: expected one offset for each of {tensor_count} tensors"
            )
        plan = tuple(words[3 : 3 + tensor_count])
        if any(offset < -1 for offset in plan):
            raise ModelError(f"metadata {_OFFLINE_PLAN}: offsets must be -1 or more")
    return plan
