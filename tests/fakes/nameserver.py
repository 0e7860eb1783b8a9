"""A name server that knows one name, whose addresses a test changes."""

import asyncio
import socket
import struct

_HEADER_BYTES = 12
_A, _IN, _TTL_S = 1, 1, 0
_ANSWER, _UNKNOWN = 0x8180, 0x8183


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for A with `addresses`, and every other one with nothing.

    Attributes:
        addresses: What the name stands for now.
        asked: How many questions for them came.
    """

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> int:
        """Listen on a free port of this machine and give it."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return int(self._transport.get_extra_info("sockname")[1])

    def stop(self) -> None:
        """Listen no more."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        end = data.index(0, _HEADER_BYTES) + 5
        question = data[_HEADER_BYTES:end]
        (kind,) = struct.unpack(">H", question[-4:-2])
        known = self.addresses if kind == _A else []
        self.asked += kind == _A
        flags = _ANSWER if kind == _A else _UNKNOWN
        header = data[:2] + struct.pack(">HHHHH", flags, 1, len(known), 0, 0)
        # Each answer names the question's name by its place.
        answers = b"".join(
            struct.pack(">HHHIH", 0xC000 | _HEADER_BYTES, _A, _IN, _TTL_S, 4)
            + socket.inet_aton(address)
            for address in known
        )
        self._transport.sendto(header + question + answers, addr)
