"""A gRPC client that costs next to nothing: HTTP/2 frames by hand, for one server on loopback.

What the official client spends on a message (0.1 ms and more) would be most of what two cores have
when a thousand trainers and a thousand watchers share them with the gateway that is measured.
RFC 9113 has the frames, RFC 7541 the header fields: literals, neither indexed nor compressed.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence

from google.protobuf.message import Message

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK = 0x1
_END_STREAM = 0x1
_END_HEADERS = 0x4
_INITIAL_WINDOW_SIZE = 0x4
_LARGEST_WINDOW = 2**31 - 1
_WINDOW_AT_FIRST = 65_535
_FRAME_HEAD = 9
_MESSAGE_HEAD = 5

OnMessage = Callable[[bytes], None]


class RawGrpcError(Exception):
    """The server ended a call or the connection in a way that no load expects."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _field(name: str, value: str) -> bytes:
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 0x7F:
        return bytes([len(data)]) + data
    # A prefixed integer of seven bits; the Huffman bit stays clear.
    rest, length = len(data) - 0x7F, bytearray([0x7F])
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + data


def framed(message: Message) -> bytes:
    """Give a message with gRPC's head of five bytes."""
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


class RawConnection(asyncio.Protocol):
    """One connection with many calls."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._next_stream = 1
        self._messages: dict[int, tuple[OnMessage, bytearray]] = {}
        self._ended: dict[int, asyncio.Future[None]] = {}
        self._send_window = _WINDOW_AT_FIRST
        self._held: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the connection with windows so large that none needs an update."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        more = struct.pack(">I", _LARGEST_WINDOW - _WINDOW_AT_FIRST)
        transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, more))

    def call(
        self, path: str, metadata: Sequence[tuple[str, str]], on_message: OnMessage
    ) -> tuple[int, "asyncio.Future[None]"]:
        """Begin a call; give its stream and a future that is done when the server ended it."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "linnet"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata,
        ]
        block = b"".join(_field(name, value) for name, value in fields)
        self._messages[stream] = (on_message, bytearray())
        ended = self._ended[stream] = asyncio.get_running_loop().create_future()
        self._write(_frame(_HEADERS, _END_HEADERS, stream, block))
        return stream, ended

    def send(self, stream: int, message: bytes, *, last: bool = False) -> None:
        """Send a framed message."""
        self._held.append(_frame(_DATA, _END_STREAM if last else 0, stream, message))
        self._flush()

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        ready = []
        while self._held and len(self._held[0]) - _FRAME_HEAD <= self._send_window:
            frame = self._held.pop(0)
            self._send_window -= len(frame) - _FRAME_HEAD
            ready.append(frame)
        if ready:
            self._write(b"".join(ready))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take frames as they come."""
        received = self._received
        received += data
        at = 0
        while len(received) - at >= _FRAME_HEAD:
            length = int.from_bytes(received[at : at + 3], "big")
            end = at + _FRAME_HEAD + length
            if len(received) < end:
                break
            kind, flags = received[at + 3], received[at + 4]
            stream = int.from_bytes(received[at + 5 : at + 9], "big")
            self._take(kind, flags, stream, bytes(received[at + _FRAME_HEAD : end]))
            at = end
        del received[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(stream, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream == 0:
            self._send_window += int.from_bytes(payload, "big")
            self._flush()
        elif kind == _GOAWAY:
            raise RawGrpcError(f"the server ended the connection: {payload[8:].decode()}")
        if (kind in {_DATA, _HEADERS} and flags & _END_STREAM) or kind == _RESET:
            self._messages.pop(stream, None)
            ended = self._ended.pop(stream, None)
            if ended is not None and not ended.done():
                ended.set_result(None)

    def _take_data(self, stream: int, payload: bytes) -> None:
        found = self._messages.get(stream)
        if found is None:
            return
        on_message, held = found
        held += payload
        while len(held) >= _MESSAGE_HEAD:
            end = _MESSAGE_HEAD + int.from_bytes(held[1:_MESSAGE_HEAD], "big")
            if len(held) < end:
                return
            message = bytes(held[_MESSAGE_HEAD:end])
            del held[:end]
            on_message(message)


async def connect(address: str) -> RawConnection:
    """Open a connection to `host:port`, without TLS."""
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(RawConnection, host, int(port))
    return protocol


async def ask(
    connection: RawConnection,
    path: str,
    request: bytes,
    metadata: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Make a call that is answered once, with a framed request.

    Raises:
        RawGrpcError: The call ended without an answer.
    """
    answers: list[bytes] = []
    stream, ended = connection.call(path, metadata, answers.append)
    connection.send(stream, request, last=True)
    await ended
    if not answers:
        raise RawGrpcError(f"{path} was refused")
    return answers[0]
