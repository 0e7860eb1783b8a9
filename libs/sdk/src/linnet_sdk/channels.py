"""gRPC channels to a gateway: limits, keep-alive, the token of each call."""

from pathlib import Path
from typing import Any

import grpc
from linnet_runtime.errors import InvalidInput, LinnetError, Unavailable
from linnet_runtime.rpc.status import from_rpc_error

from linnet_sdk.server_address import ServerAddress

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest answer that is read; a gateway's own limit is far below it."""

Metadata = tuple[tuple[str, str], ...]

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
        return grpc.secure_channel(server.target, _credentials(server), _OPTIONS)
    return grpc.insecure_channel(server.target, _OPTIONS)


def open_async_channel(server: ServerAddress) -> grpc.aio.Channel:
    """Open a channel for the running event loop."""
    if server.tls:
        return grpc.aio.secure_channel(server.target, _credentials(server), _OPTIONS)
    return grpc.aio.insecure_channel(server.target, _OPTIONS)


def _credentials(server: ServerAddress) -> grpc.ChannelCredentials:
    # gRPC ends the process where only one of the two is given.
    if (server.certificate_file is None) != (server.key_file is None):
        raise InvalidInput.of("key_file", "expected a certificate and its key together")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(server.ca_file, "ca_file"),
        private_key=_read(server.key_file, "key_file"),
        certificate_chain=_read(server.certificate_file, "certificate_file"),
    )


def _read(path: Path | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.of(field, f"expected a readable PEM file: {error}") from error


def call_metadata(server: ServerAddress) -> Metadata:
    """Give the metadata that goes with a call that is made now."""
    token = server.token_now()
    return (("authorization", f"Bearer {token}"),) if token else ()


def call_error(
    error: grpc.RpcError, server: ServerAddress, sent: Metadata, *, reached: bool
) -> LinnetError:
    """Make the error that a failed call tells of; one that reached nobody names the address.

    A token that has expired and was renewed since is no reason to give up: the call is then worth
    another attempt, as if the server had been away.
    """
    found = from_rpc_error(error)
    if found.reason == "EXPIRED_TOKEN" and call_metadata(server) != sent:
        return Unavailable("the token expired and was renewed")
    if isinstance(found, Unavailable) and not reached and not found.metadata:
        return Unavailable(
            f"no gateway answers at {server.target}; start one with `linnet up`, or name one with "
            "--server or LINNET_SERVER",
            reason="SERVER_UNREACHABLE",
            metadata={"server": server.target},
        )
    return found
