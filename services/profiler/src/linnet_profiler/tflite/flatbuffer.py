"""A reader of FlatBuffers that trusts nothing: every offset is checked against the file.

Source of the layout: the FlatBuffers internals page (flatbuffers.dev/internals). A table starts
with a signed offset back to its vtable; the vtable lists where in the table each field lies
(0: absent).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from linnet_profiler.errors import ModelError

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_SCALARS = {
    "bool": struct.Struct("<?"),
    "i8": struct.Struct("<b"),
    "u8": struct.Struct("<B"),
    "i16": struct.Struct("<h"),
    "u16": struct.Struct("<H"),
    "i32": struct.Struct("<i"),
    "u32": struct.Struct("<I"),
    "i64": struct.Struct("<q"),
    "u64": struct.Struct("<Q"),
    "f32": struct.Struct("<f"),
}
_WIDTHS = {kind: layout.size for kind, layout in _SCALARS.items()}

# A vtable starts with its own length and its table's, a table with the offset of its vtable.
_TABLE_HEADER = 4

Scalar = int | float | bool


@dataclass(slots=True)
class Buffer:
    """The bytes of a file and how many elements may still be read out of it.

    The budget bounds time: vectors may overlap in a hostile file, so its length alone doesn't.
    """

    data: bytes
    budget: int

    def spend(self, elements: int, what: str) -> None:
        """Count elements against the budget; raises ModelError when a file asks for too many."""
        self.budget -= elements
        if self.budget < 0:
            raise ModelError(f"{what}: the file refers to its own bytes too often to be a model")

    def scalar(self, layout: struct.Struct, position: int, what: str) -> Scalar:
        """One scalar at an absolute position."""
        if not 0 <= position <= len(self.data) - layout.size:
            raise ModelError(
                f"{what}: offset {position} lies outside the file of {len(self.data)} bytes"
            )
        value: Scalar = layout.unpack_from(self.data, position)[0]
        return value

    def root(self) -> Table:
        """The root table."""
        return self.table(int(self.scalar(_U32, 0, "root")), "root")

    def table(self, position: int, what: str) -> Table:
        """The table at an absolute position, its vtable checked."""
        vtable = position - int(self.scalar(_I32, position, what))
        vtable_bytes = int(self.scalar(_U16, vtable, f"{what}: vtable"))
        if (
            vtable_bytes < _TABLE_HEADER
            or vtable_bytes % 2
            or vtable + vtable_bytes > len(self.data)
        ):
            raise ModelError(f"{what}: vtable of {vtable_bytes} bytes at {vtable} is not valid")
        table_bytes = int(self.scalar(_U16, vtable + 2, f"{what}: vtable"))
        if table_bytes < _TABLE_HEADER or position + table_bytes > len(self.data):
            raise ModelError(f"{what}: table of {table_bytes} bytes at {position} leaves the file")
        self.spend(1, what)
        return Table(self, position, vtable, vtable_bytes, table_bytes, what)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: fields by id, absent fields as their defaults."""

    buffer: Buffer
    position: int
    vtable: int
    vtable_bytes: int
    table_bytes: int
    what: str = field(default="table")

    def _field(self, index: int, width: int) -> int | None:
        entry = 4 + 2 * index
        if entry + 2 > self.vtable_bytes:
            return None
        offset = _U16.unpack_from(self.buffer.data, self.vtable + entry)[0]
        if offset == 0:
            return None
        if offset < _TABLE_HEADER or offset + width > self.table_bytes:
            raise ModelError(f"{self.what}: field {index} lies outside its table")
        return self.position + int(offset)

    def scalar(self, index: int, kind: str, default: Scalar) -> Scalar:
        """A scalar field: kind is bool, i8, u8, i16, u16, i32, u32, i64, u64 or f32."""
        position = self._field(index, _WIDTHS[kind])
        if position is None:
            return default
        return self.buffer.scalar(_SCALARS[kind], position, self.what)

    def integer(self, index: int, kind: str, default: int = 0) -> int:
        """An integer field."""
        return int(self.scalar(index, kind, default))

    def _target(self, index: int) -> int | None:
        position = self._field(index, 4)
        if position is None:
            return None
        return position + int(_U32.unpack_from(self.buffer.data, position)[0])

    def child(self, index: int, what: str) -> Table | None:
        """A field that refers to a table."""
        target = self._target(index)
        return None if target is None else self.buffer.table(target, what)

    def span(self, index: int, width: int, what: str) -> tuple[int, int] | None:
        """Start and element count of a vector field whose elements take width bytes."""
        target = self._target(index)
        if target is None:
            return None
        count = int(self.buffer.scalar(_U32, target, what))
        start = target + 4
        if count * width > len(self.buffer.data) - start:
            raise ModelError(f"{what}: {count} elements of {width} bytes leave the file")
        return start, count

    def numbers(self, index: int, kind: str, what: str) -> tuple[Scalar, ...] | None:
        """A vector of scalars, or None where the field is absent."""
        span = self.span(index, _WIDTHS[kind], what)
        if span is None:
            return None
        start, count = span
        self.buffer.spend(count, what)
        code = _SCALARS[kind].format[-1]
        return struct.unpack_from(f"<{count}{code}", self.buffer.data, start)

    def integers(self, index: int, kind: str, what: str) -> tuple[int, ...] | None:
        """A vector of integers, or None where the field is absent."""
        numbers = self.numbers(index, kind, what)
        return None if numbers is None else tuple(int(number) for number in numbers)

    def text(self, index: int, what: str, limit: int = 256) -> str:
        """A string field, undecodable bytes replaced, cut at limit characters."""
        span = self.span(index, 1, what)
        if span is None:
            return ""
        start, count = span
        count = min(count, 4 * limit)
        self.buffer.spend(count // 16, what)
        raw = bytes(self.buffer.data[start : start + count])
        return raw.decode("utf-8", errors="replace")[:limit]

    def length(self, index: int, width: int, what: str) -> int:
        """How many elements of a width in bytes a vector has, 0 where the field is absent."""
        span = self.span(index, width, what)
        return 0 if span is None else span[1]

    def children(self, index: int, what: str, most: int) -> list[Table]:
        """A vector of tables, empty where the field is absent; more than most are refused."""
        span = self.span(index, 4, what)
        if span is None:
            return []
        start, count = span
        if count > most:
            raise ModelError(f"{what}: at most {most} of them, got {count}")
        self.buffer.spend(count, what)
        tables = []
        for number in range(count):
            slot = start + 4 * number
            target = slot + int(_U32.unpack_from(self.buffer.data, slot)[0])
            tables.append(self.buffer.table(target, f"{what} {number}"))
        return tables
