"""From bytes to a message that keeps the contract, without others having to wait for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from linnet_runtime.rpc.message_limit import check_size
from linnet_runtime.rpc.message_shape import count_parts, malformed
from linnet_runtime.rpc.validation import check

T = TypeVar("T")

NEAR_BYTES = 64 * 1024
"""Size up to which a message is read on the event loop: milliseconds, whatever is in it."""
_UNCOUNTED_BYTES = 256 * 1024
"""Size up to which parts are not counted first: what can be in it takes 30 MB."""


class Reader:
    """Reads messages; large ones in a thread, one by one, so that their memory is bounded."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rpc-read")

    async def read(self, data: bytes, kind: type[Message]) -> Message:
        """Read a serialized message and check it.

        Raises:
            QuotaExceeded: It is too large.
            InvalidInput: It is no message, or breaks a rule of the contract.
        """
        return await self.run(len(data), lambda: _read(data, kind))

    async def run(self, size_bytes: int, work: Callable[[], T]) -> T:
        """Do what reads a message of a size."""
        if size_bytes <= NEAR_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _read(data: bytes, kind: type[Message]) -> Message:
    check_size(len(data))
    if len(data) > _UNCOUNTED_BYTES:
        count_parts(data, kind)
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise malformed(
            f"expected a serialized {kind.DESCRIPTOR.full_name}, received other bytes"
        ) from None
    check(message)
    return message


def request_kind(method: str) -> type[Message]:
    """Give the type of the requests of a method: `/linnet.v1.RunnerService/Report`."""
    service, _, name = method.removeprefix("/").partition("/")
    found: Any = descriptor_pool.Default().FindServiceByName(service)
    kind: type[Message] = message_factory.GetMessageClass(found.methods_by_name[name].input_type)
    return kind
