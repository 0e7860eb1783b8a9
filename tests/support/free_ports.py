"""Ports for servers that tests start."""

import contextlib
import secrets
import socket

_PORTS = range(12_000, 32_000)
"""Linux connects from 32,768 on (net.ipv4.ip_local_port_range)."""


def free_port() -> int:
    """Find a port that nobody has, below those that connections take for themselves.

    A server that is killed comes back on its port: no connection may have taken it meanwhile.
    """
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
