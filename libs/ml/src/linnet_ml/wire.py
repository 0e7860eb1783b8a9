"""Dataclasses ⇄ messages of the contract, by name of field.

A dataclass mirrors a message when each of its fields has the name of one of the message's. An
`IntEnum` has the numbers of the contract's enum. `None` means absent, `timedelta` a Duration,
`datetime` a Timestamp, a tuple a repeated field. A nested dataclass that is not optional takes its
own defaults when the message leaves it out.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

T = TypeVar("T")
M = TypeVar("M", bound=Message)


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: Any
    optional: bool
    repeated: bool


def _fields(cls: type) -> tuple[_Field, ...]:
    found: tuple[_Field, ...] = _read_fields(cls)
    return found


@cache
def _read_fields(cls: type) -> tuple[_Field, ...]:
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        kind, optional, repeated = hints[field.name], False, False
        if get_origin(kind) in {Union, types.UnionType}:
            kind = next(a for a in get_args(kind) if a is not types.NoneType)
            optional = True
        if get_origin(kind) is tuple:
            kind, repeated = get_args(kind)[0], True
        found.append(_Field(field.name, kind, optional, repeated))
    return tuple(found)


def _value(kind: Any, raw: Any) -> Any:
    if isinstance(raw, Duration):
        return raw.ToTimedelta()
    if isinstance(raw, Timestamp):
        return raw.ToDatetime(UTC)
    if isinstance(raw, Message):
        return from_message(kind, raw)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return kind(raw)
    return raw


def from_message(cls: type[T], message: Message) -> T:
    """Make the dataclass `cls` of a message; enum values that it does not know raise ValueError."""
    values: dict[str, Any] = {}
    by_name = message.DESCRIPTOR.fields_by_name
    for field in _fields(cls):
        descriptor = by_name[field.name]
        raw = getattr(message, field.name)
        if get_origin(field.kind) is dict:
            values[field.name] = dict(raw)
        elif field.repeated:
            values[field.name] = tuple(_value(field.kind, item) for item in raw)
        elif descriptor.has_presence and not message.HasField(field.name):
            if field.optional:
                values[field.name] = None
        else:
            values[field.name] = _value(field.kind, raw)
    return cls(**values)


def to_message(value: Any, cls: type[M]) -> M:
    """Make a message of type `cls` of a dataclass."""
    message = cls()
    fill(message, value)
    return message


def fill(message: Message, value: Any) -> None:
    """Set the fields of a message that a dataclass has."""
    for field in _fields(type(value)):
        item = getattr(value, field.name)
        if item is None:
            continue
        target = getattr(message, field.name)
        if isinstance(item, tuple | list):
            _extend(target, item)
        elif isinstance(item, Mapping):
            _update(target, item)
        elif isinstance(item, timedelta):
            target.FromTimedelta(item)
        elif isinstance(item, datetime):
            target.FromDatetime(item)
        elif dataclasses.is_dataclass(item):
            target.SetInParent()
            fill(target, item)
        else:
            setattr(message, field.name, item)


def _extend(target: Any, items: Sequence[Any]) -> None:
    if items and dataclasses.is_dataclass(items[0]):
        for item in items:
            fill(target.add(), item)
    else:
        target.extend(items)


def _update(target: Any, items: Mapping[Any, Any]) -> None:
    for key, item in items.items():
        if dataclasses.is_dataclass(item):
            fill(target[key], item)
        else:
            target[key] = item


def from_json(cls: type[T], text: str | bytes, message: Message) -> T:
    """Make a dataclass of the contract's JSON mapping, by way of an empty `message`.

    Raises:
        json_format.ParseError: It is no JSON of that message; names the field.
    """
    return from_message(cls, json_format.Parse(text, message))


def to_json(value: Any, cls: type[Message]) -> str:
    """Give the contract's JSON mapping of a dataclass, field names as in the contract."""
    return json_format.MessageToJson(
        to_message(value, cls), preserving_proto_field_name=True, indent=2
    )
