"""Streams over gRPC's blocking client, which keeps the status of one that ends while it is written.

grpc.aio tells of an internal error of its own then.
"""

import asyncio
from collections.abc import Sequence

import grpc


async def exchanged(
    address: str, method: str, messages: Sequence[bytes], metadata: Sequence[tuple[str, str]]
) -> list[bytes]:
    """Send all messages of a stream and give its answers.

    Args:
        address: `host:port` of a server without TLS.
        method: The method's full path, `/package.Service/Method`.
        messages: Serialized messages.
        metadata: The call's metadata.

    Raises:
        grpc.RpcError: The server refused.
    """

    def exchange() -> list[bytes]:
        with grpc.insecure_channel(address) as channel:
            return list(channel.stream_stream(method)(iter(messages), metadata=metadata))

    return await asyncio.to_thread(exchange)
