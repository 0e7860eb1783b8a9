"""The message of an evaluation and its JSON.

Both are made of one plain form, the contract's JSON mapping: protobuf takes it whole, thirty times
faster than field by field through reflection.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
from linnet.v1 import evaluation_pb2

from linnet_evaluator.record import Evaluation, SplitSide, Variant

Plain = dict[str, Any]
Convert = Callable[[Any], Any]

_ENUM_PREFIXES: dict[Any, str] = {Variant: "VARIANT_", SplitSide: "SPLIT_SIDE_"}


def _converter(kind: Any) -> Convert | None:
    """Give what makes a value of that type plain; None where it is."""
    if get_origin(kind) is UnionType:
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) in {tuple, dict}:
        *_, item_kind = (part for part in get_args(kind) if part is not Ellipsis)
        inner = _converter(item_kind)
        if inner is None:
            return None
        if get_origin(kind) is dict:
            return lambda items: {key: inner(item) for key, item in items.items()}
        return lambda items: [inner(item) for item in items]
    if is_dataclass(kind):
        return _plain
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return {item: _ENUM_PREFIXES[kind] + item.name for item in kind}.__getitem__
    return None


@cache
def _plan(cls: type) -> tuple[tuple[str, Convert | None], ...]:
    kinds = get_type_hints(cls)
    return tuple((field.name, _converter(kinds[field.name])) for field in fields(cls))


def _plain(value: Any) -> Plain:
    told = {}
    cls: type = type(value)
    for name, convert in _plan(cls):
        item = getattr(value, name)
        if item is not None:
            told[name] = item if convert is None else convert(item)
    return told


def to_plain(evaluation: Evaluation) -> Plain:
    """Give the contract's JSON mapping of an evaluation, field names as in the contract."""
    return _plain(evaluation)


def to_message(plain: Mapping[str, Any]) -> evaluation_pb2.Evaluation:
    """Make the message of a plain evaluation."""
    return evaluation_pb2.Evaluation(**plain)


def to_json(plain: Mapping[str, Any]) -> bytes:
    """Write a plain evaluation as UTF-8."""
    return orjson.dumps(plain)
