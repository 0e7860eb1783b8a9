"""How many parts a serialized message has, counted before it is made.

Two bytes on the wire become a message of two hundred in memory, so that 8 MiB could become a
gigabyte. Here a message is read under a twin of its type in which every message within it is bytes:
that makes nothing but references, and what lies deeper is only looked at once its list is known to
be short enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from linnet_runtime.errors import InvalidInput

MAX_PARTS = 250_000
"""Messages within one message; a full chunk of a batch with deep networks has 110,000."""
MAX_UNBOUNDED = 10_000
"""Messages in a list for which the contract names no number."""
_TOO_SHORT_BYTES = 64
"""Messages that are shorter hold too little to be looked into."""
_DEPTH = 100
"""Where the parser gives up, too."""


def malformed(what: str) -> InvalidInput:
    """Give the error of bytes that are no message."""
    return InvalidInput.of("request", what, reason="MALFORMED_MESSAGE")


def too_many(path: str, limit: int, count: int) -> InvalidInput:
    """Give the error of a list that is too long."""
    return InvalidInput.of(
        path,
        f"must contain no more than {limit} item(s), received {count} of them",
        reason="INVALID_ARGUMENT",
    )


def max_items(field: FieldDescriptor) -> int | None:
    """Give how long a list or a map of the contract may be; None if it does not say."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.map.HasField("max_pairs"):
        return int(rules.map.max_pairs)
    if rules.repeated.HasField("max_items"):
        return int(rules.repeated.max_items)
    return MAX_UNBOUNDED if field.message_type is not None else None


def count_parts(data: bytes, kind: type[Message]) -> None:
    """Refuse a serialized message that would be too many.

    Raises:
        InvalidInput: A list is longer than the contract allows (`INVALID_ARGUMENT`), there are more
            than `MAX_PARTS` messages in it (`TOO_MANY_PARTS`), or it is none at all.
    """
    parts = 0
    waiting = [_Piece(_shape(kind.DESCRIPTOR), data, "", 0)]
    while waiting:
        piece = waiting.pop()
        for inner in _pieces_of(piece):
            parts += inner.count
            if parts > MAX_PARTS:
                raise InvalidInput.of(
                    inner.path or "request",
                    f"expected at most {MAX_PARTS} messages within one, received more",
                    reason="TOO_MANY_PARTS",
                )
            waiting += inner.pieces


@dataclass(frozen=True, slots=True)
class _Part:
    """A field that is a list, or that has messages in it."""

    field: FieldDescriptor
    limit: int | None
    is_looked_into: bool


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is counted of a type of message: its twin, and the fields of the twin."""

    twin: type[Message]
    parts: Sequence[_Part]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A serialized message that is to be looked into."""

    shape: _Shape
    data: bytes
    prefix: str
    depth: int


@dataclass(frozen=True, slots=True)
class _Held:
    """What a field of a message holds: how many messages, and those to be looked into."""

    path: str
    count: int
    pieces: Sequence[_Piece]


def _pieces_of(piece: _Piece) -> Iterator[_Held]:
    if piece.depth > _DEPTH:
        raise malformed(f"expected messages at most {_DEPTH} deep")
    try:
        twin = piece.shape.twin.FromString(piece.data)
    except DecodeError:
        raise malformed("expected a serialized message, received other bytes") from None
    for part in piece.shape.parts:
        held = getattr(twin, part.field.name)
        path = f"{piece.prefix}{part.field.name}"
        if part.limit is not None and len(held) > part.limit:
            raise too_many(path, part.limit, len(held))
        if part.field.message_type is None or not held:
            continue
        below, paths = [], [f"{path}."]
        if part.is_looked_into:
            if part.field.is_repeated:
                below, paths = held, [f"{path}[{index}]." for index in range(len(held))]
            else:
                # A field that is sent in pieces is what its pieces make together.
                below = [held[0] if len(held) == 1 else b"".join(held)]
        shape = _shape(part.field.message_type)
        yield _Held(
            path,
            len(held),
            [
                _Piece(shape, data, at, piece.depth + 1)
                for data, at in zip(below, paths, strict=False)
                if len(data) > _TOO_SHORT_BYTES
            ],
        )


@cache
def _shape(kind: Descriptor) -> _Shape:
    parts = [
        _Part(field, max_items(field) if field.is_repeated else None, _holds_lists(field))
        for field in kind.fields
        if field.is_repeated or field.message_type is not None
    ]
    return _Shape(_twin(kind), parts)


def _holds_lists(field: FieldDescriptor) -> bool:
    seen: set[str] = set()
    waiting = [field.message_type] if field.message_type is not None else []
    while waiting:
        kind = waiting.pop()
        seen.add(kind.full_name)
        for inner in kind.fields:
            if inner.is_repeated:
                return True
            if inner.message_type is not None and inner.message_type.full_name not in seen:
                waiting.append(inner.message_type)
    return False


def _twin(kind: Descriptor) -> type[Message]:
    """Make the type in which messages are bytes and all that is counted is a list."""
    name = kind.full_name.replace(".", "_")
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.twin", package="twin", syntax="proto3")
    made = file.message_type.add(name=name)
    for field in kind.fields:
        if field.message_type is None and not field.is_repeated:
            continue
        is_message = field.message_type is not None
        made.field.add(
            name=field.name,
            number=field.number,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
            type=_wire_type(field, is_message=is_message),
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"twin.{name}"))


def _wire_type(
    field: FieldDescriptor, *, is_message: bool
) -> descriptor_pb2.FieldDescriptorProto.Type.ValueType:
    kinds = descriptor_pb2.FieldDescriptorProto
    if is_message or field.type == FieldDescriptor.TYPE_STRING:
        return kinds.TYPE_BYTES
    if field.type == FieldDescriptor.TYPE_ENUM:
        return kinds.TYPE_INT32
    return kinds.Type.ValueType(field.type)
