"""Bodies of HTTP calls, read and checked as messages of gRPC are, and bounded as JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.message_shape import malformed, max_items, too_many
from linnet_runtime.rpc.reading import Reader
from linnet_runtime.rpc.validation import check

MAX_OPENED = 250_000
"""Objects and lists of one JSON body; a full chunk of a batch with deep networks has 110,000."""
MAX_VALUES = 600_000
"""Values of one JSON body: what takes a few seconds to be read. More can be sent as protobuf."""


class Body(Protocol):
    """A request that was received and is not read yet."""

    async def read(self, reader: Reader) -> Message:
        """Read and check it.

        Raises:
            InvalidInput: It is no message, too much of one, or breaks a rule of the contract.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Binary:
    data: bytes
    kind: type[Message]

    async def read(self, reader: Reader) -> Message:
        """Read and check it."""
        return await reader.read(self.data, self.kind)


@dataclass(frozen=True, slots=True)
class _Json:
    data: bytes
    kind: type[Message]

    async def read(self, reader: Reader) -> Message:
        """Read and check it."""
        # A JSON message takes a hundred times as long as a serialized one of its size.
        return await reader.run(len(self.data) * 16, partial(_from_json, self.data, self.kind))


class _Codec:
    """Keeps what it is given: connectrpc would make the message at once, on the event loop."""

    def __init__(self, codec: Any, kept: Callable[[bytes, type[Message]], Body]) -> None:
        self._codec = codec
        self._kept = kept

    def name(self) -> str:
        """Give the name that content types have for it."""
        return str(self._codec.name())

    def encode(self, message: Message) -> bytes:
        """Write an answer."""
        return bytes(self._codec.encode(message))

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Body:
        """Keep a request."""
        return self._kept(bytes(data), message_class)


def body_codecs() -> list[Any]:
    """Give the codecs of the HTTP port."""
    return [
        _Codec(google_protobuf_binary_codec(), _Binary),
        _Codec(google_protobuf_json_codec(), _Json),
    ]


def _from_json(data: bytes, kind: type[Message]) -> Message:
    # Before anything is made of it; what stands in strings counts, too, and is never as much.
    for what, limit, count in (
        ("objects and lists", MAX_OPENED, data.count(b"{") + data.count(b"[")),
        ("values", MAX_VALUES, data.count(b",")),
    ):
        if count > limit:
            raise InvalidInput.of(
                "request",
                f"expected JSON with at most {limit} {what}, received {count}; "
                "larger messages can be sent as application/proto",
                reason="TOO_MANY_PARTS",
            )
    try:
        document = json.loads(data, object_pairs_hook=_once)
        _check_lists(document, kind.DESCRIPTOR, "")
        message = json_format.ParseDict(document, kind(), ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise malformed(f"expected JSON of a {kind.DESCRIPTOR.full_name}: {_told(error)}") from None
    check(message)
    return message


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _told(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _check_lists(document: Any, kind: Any, prefix: str) -> None:
    """Refuse lists that are longer than the contract allows before their elements are read."""
    if not isinstance(document, dict) or kind.file.package == "google.protobuf":
        return
    for name, value in document.items():
        field = kind.fields_by_camelcase_name.get(name) or kind.fields_by_name.get(name)
        if field is None:
            continue
        path = f"{prefix}{field.name}"
        if field.is_repeated and isinstance(value, list | dict):
            limit = max_items(field)
            if limit is not None and len(value) > limit:
                raise too_many(path, limit, len(value))
        if field.message_type is not None:
            _check_parts(value, field, path)


def _check_parts(value: Any, field: FieldDescriptor, path: str) -> None:
    if not field.is_repeated:
        _check_lists(value, field.message_type, f"{path}.")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_lists(part, field.message_type, f"{path}[{index}].")
