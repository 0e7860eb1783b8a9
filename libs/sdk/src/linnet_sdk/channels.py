"""gRPC channels to a gateway: limits, keep-alive, the token of each call."""

from typing import Any

import grpc
from linnet_runtime.errors import LinnetError, Unavailable
from linnet_runtime.rpc.status import from_rpc_error

from linnet_sdk.server_address import ServerAddress

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest answer that is read; a gateway's own limit is far below it."""

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Retries are ours alone; two layers would multiply.
    ("grpc.enable_retries", 0),
    # A gateway that restarts on its old port is found again at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def open_channel(server: ServerAddress) -> grpc.Channel:
    """Open a channel for blocking calls."""
    if server.tls:
        return grpc.secure_channel(server.target, grpc.ssl_channel_credentials(), _OPTIONS)
    return grpc.insecure_channel(server.target, _OPTIONS)


def open_async_channel(server: ServerAddress) -> grpc.aio.Channel:
    """Open a channel for the running event loop."""
    if server.tls:
        return grpc.aio.secure_channel(server.target, grpc.ssl_channel_credentials(), _OPTIONS)
    return grpc.aio.insecure_channel(server.target, _OPTIONS)


def call_metadata(server: ServerAddress) -> tuple[tuple[str, str], ...]:
    """Give the metadata that goes with every call."""
    return (("authorization", f"Bearer {server.token}"),) if server.token else ()


def call_error(error: grpc.RpcError, server: ServerAddress, *, reached: bool) -> LinnetError:
    """Make the error that a failed call tells of; one that reached nobody names the address."""
    found = from_rpc_error(error)
    if isinstance(found, Unavailable) and not reached and not found.metadata:
        return Unavailable(
            f"no gateway answers at {server.target}; start one with `linnet up`, or name one with "
            "--server or LINNET_SERVER",
            reason="SERVER_UNREACHABLE",
            metadata={"server": server.target},
        )
    return found
