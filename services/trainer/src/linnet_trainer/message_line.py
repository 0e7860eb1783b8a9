"""A connection of two processes that carries a JSON object a line."""

import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Mapping
from typing import Any

_READ_BYTES = 65_536
MOST_MESSAGE_BYTES = 32 << 20


class MessageLine:
    """One end of a connection that carries a JSON object a line."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._rest = b""
        self._whole = threading.RLock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message whole, whichever thread sends another; nobody there is no error."""
        left = memoryview(json.dumps(message).encode() + b"\n")
        # Threads of a script print at once.
        with self._whole, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # Confined children may write to what they have, not send.
            while left:
                left = left[os.write(self.socket.fileno(), left) :]

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Give the next message, an empty one after the time, None when the other end is gone.

        What is no JSON object counts as the other end's end.
        """
        while b"\n" not in self._rest:
            if not select.select([self.socket], [], [], timeout_s)[0]:
                return {}
            try:
                data = self.socket.recv(_READ_BYTES)
            except ConnectionResetError:
                return None
            if not data or len(self._rest) > MOST_MESSAGE_BYTES:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def waiting(self) -> bool:
        """Say whether there is something to receive."""
        return b"\n" in self._rest or bool(select.select([self.socket], [], [], 0)[0])

    def close(self) -> None:
        """Close this end."""
        self.socket.close()


def pair() -> tuple[MessageLine, MessageLine]:
    """Give both ends of a new connection."""
    ours, theirs = socket.socketpair()
    return MessageLine(ours), MessageLine(theirs)
