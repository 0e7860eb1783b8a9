"""Writes Parquet files of flat, nullable columns: enough for a table of results, and no library.

One row group, plain encoding, no compression, statistics left out. The layout is that of the
format's specification (apache/parquet-format, README and parquet.thrift); its metadata is Thrift's
compact protocol.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

_MAGIC = b"PAR1"
_PLAIN, _RLE = 0, 3
_OPTIONAL = 1
_DATA_PAGE = 0
_UTF8, _TIMESTAMP_MICROS = 0, 10

Value = bool | int | float | str | None


class Kind(IntEnum):
    """What a column holds, by Parquet's number of its physical type."""

    BOOLEAN = 0
    INT64 = 2
    DOUBLE = 5
    TEXT = 6
    TIME_US = 102
    """Microseconds since 1970, in UTC."""

    @property
    def physical(self) -> int:
        """Parquet's number of the physical type."""
        return int(Kind.INT64) if self is Kind.TIME_US else int(self)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: None stands for a missing value."""

    name: str
    kind: Kind
    values: Sequence[Value]


def table(columns: Sequence[Column]) -> bytes:
    """Give the file of a table; every column has as many values."""
    rows = len(columns[0].values)
    out = bytearray(_MAGIC)
    chunks = []
    for column in columns:
        page = _levels(column.values) + _values(column)
        header = _page_header(len(page), rows)
        offset = len(out)
        out += header + page
        chunks.append(_chunk(column, rows, offset, len(header) + len(page)))
    footer = _footer(columns, chunks, rows, len(out) - len(_MAGIC))
    return bytes(out + footer + struct.pack("<I", len(footer)) + _MAGIC)


def _levels(values: Sequence[Value]) -> bytes:
    """Say which values are there, as runs of equal bits."""
    body = bytearray()
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or (values[end] is None) != (values[start] is None):
            body += _varint((end - start) << 1)
            body.append(0 if values[start] is None else 1)
            start = end
    return struct.pack("<I", len(body)) + bytes(body)


def _values(column: Column) -> bytes:
    there = [value for value in column.values if value is not None]
    if column.kind is Kind.TEXT:
        texts = [str(value).encode() for value in there]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if column.kind is Kind.BOOLEAN:
        packed = bytearray((len(there) + 7) // 8)
        for index, value in enumerate(there):
            packed[index // 8] |= bool(value) << (index % 8)
        return bytes(packed)
    form = "d" if column.kind is Kind.DOUBLE else "q"
    return struct.pack(f"<{len(there)}{form}", *there)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Struct:
    """Thrift's compact protocol: fields in order of their numbers."""

    _I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

    def __init__(self) -> None:
        self._out = bytearray()
        self._last = 0

    def _field(self, number: int, kind: int) -> None:
        self._out.append((number - self._last) << 4 | kind)
        self._last = number

    def number(self, field: int, value: int, *, wide: bool = False) -> "_Struct":
        """Add an i32, or an i64 if `wide`."""
        self._field(field, self._I64 if wide else self._I32)
        self._out += _varint(value << 1 if value >= 0 else (-value << 1) - 1)
        return self

    def text(self, field: int, value: str) -> "_Struct":
        """Add a string."""
        self._field(field, self._BINARY)
        self._out += _binary(value)
        return self

    def struct(self, field: int, value: "_Struct") -> "_Struct":
        """Add a struct."""
        self._field(field, self._STRUCT)
        self._out += value.end()
        return self

    def numbers(self, field: int, values: Sequence[int]) -> "_Struct":
        """Add a list of i32."""
        items = b"".join(_varint(value << 1) for value in values)
        return self._list(field, self._I32, len(values), items)

    def texts(self, field: int, values: Sequence[str]) -> "_Struct":
        """Add a list of strings."""
        items = b"".join(_binary(value) for value in values)
        return self._list(field, self._BINARY, len(values), items)

    def structs(self, field: int, values: Sequence["_Struct"]) -> "_Struct":
        """Add a list of structs."""
        items = b"".join(value.end() for value in values)
        return self._list(field, self._STRUCT, len(values), items)

    def _list(self, field: int, kind: int, count: int, items: bytes) -> "_Struct":
        self._field(field, self._LIST)
        if count < 15:  # noqa: PLR2004 - longer lists have their length in bytes of its own
            self._out.append(count << 4 | kind)
        else:
            self._out.append(0xF0 | kind)
            self._out += _varint(count)
        self._out += items
        return self

    def end(self) -> bytes:
        """Give the bytes of the struct."""
        return bytes(self._out) + b"\0"


def _binary(text: str) -> bytes:
    data = text.encode()
    return _varint(len(data)) + data


def _page_header(size: int, rows: int) -> bytes:
    page = _Struct().number(1, rows).number(2, _PLAIN).number(3, _RLE).number(4, _RLE)
    return _Struct().number(1, _DATA_PAGE).number(2, size).number(3, size).struct(5, page).end()


def _chunk(column: Column, rows: int, offset: int, size: int) -> _Struct:
    metadata = (
        _Struct()
        .number(1, column.kind.physical)
        .numbers(2, [_PLAIN, _RLE])
        .texts(3, [column.name])
        .number(4, 0)
        .number(5, rows, wide=True)
        .number(6, size, wide=True)
        .number(7, size, wide=True)
        .number(9, offset, wide=True)
    )
    return _Struct().number(2, offset, wide=True).struct(3, metadata)


def _footer(columns: Sequence[Column], chunks: Sequence[_Struct], rows: int, size: int) -> bytes:
    schema = [_Struct().text(4, "schema").number(5, len(columns))]
    for column in columns:
        element = _Struct().number(1, column.kind.physical).number(3, _OPTIONAL)
        element.text(4, column.name)
        if column.kind is Kind.TEXT:
            element.number(6, _UTF8)
        elif column.kind is Kind.TIME_US:
            element.number(6, _TIMESTAMP_MICROS)
        schema.append(element)
    group = _Struct().structs(1, chunks).number(2, size, wide=True).number(3, rows, wide=True)
    return (
        _Struct()
        .number(1, 1)
        .structs(2, schema)
        .number(3, rows, wide=True)
        .structs(4, [group])
        .text(6, "linnet")
        .end()
    )
