"""Calls on an event loop that are made again, and streams that are continued."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc
from linnet_runtime.errors import Internal, LinnetError, Unavailable

from linnet_sdk import channels
from linnet_sdk.retries import Attempts, RetryPolicy
from linnet_sdk.server_address import ServerAddress

Req = TypeVar("Req")
Res = TypeVar("Res")


class AsyncCalls:
    """The connection to one server, of one event loop; documented at `Calls`."""

    def __init__(self, server: ServerAddress, retry: RetryPolicy, timeout_s: float) -> None:
        self.channel = channels.open_async_channel(server)
        self._server = server
        self._retry = retry
        self._timeout_s = timeout_s
        self._reached = False

    async def close(self) -> None:
        """Close the connection; streams under way end with an error."""
        await self.channel.close()

    async def unary(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Req, Res]", request: Req
    ) -> Res:
        """Call, and call again while the server is away."""
        attempts = self._attempts()
        while True:
            sent = channels.call_metadata(self._server)
            try:
                answer = await method(request, timeout=self._timeout_s, metadata=sent)
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.pause_after(self._error(error, sent)))
            else:
                self._reached = True
                return answer

    async def stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[Any, Res]",
        request: Any,
        *,
        is_last: Callable[[Res], bool],
        may_end: bool = False,
    ) -> AsyncIterator[Res]:
        """Stream responses; a stream that breaks is continued from its last `resume_token`."""
        attempts = self._attempts()
        while True:
            sent = channels.call_metadata(self._server)
            try:
                async for response in method(request, metadata=sent):
                    attempts.succeeded()
                    self._reached = True
                    token = getattr(response, "resume_token", "")
                    request.resume_token = token or request.resume_token
                    yield response
                    if is_last(response):
                        return
            except grpc.RpcError as error:
                ended = self._error(error, sent)
            else:
                if may_end:
                    return
                ended = Unavailable("the stream ended before what it tells of did")
            await asyncio.sleep(attempts.pause_after(ended))

    async def converse(
        self,
        method: "grpc.aio.StreamStreamMultiCallable[Req, Res]",
        first: Req,
        rest: Callable[[Res], Iterator[Req]],
        *,
        is_last: Callable[[Res], bool],
    ) -> AsyncIterator[Res]:
        """Send a message, then those that follow from its answer; begin again when it breaks."""
        attempts = self._attempts()
        while True:
            answer: asyncio.Future[Res] = asyncio.get_running_loop().create_future()
            sent = channels.call_metadata(self._server)
            try:
                async for response in method(_led_by(first, answer, rest), metadata=sent):
                    attempts.succeeded()
                    self._reached = True
                    if not answer.done():
                        answer.set_result(response)
                    yield response
                    if is_last(response):
                        return
            except grpc.RpcError as error:
                ended = _or_broken_write(self._error(error, sent))
            else:
                ended = Unavailable("the stream ended before everything was taken")
            finally:
                answer.cancel()
            await asyncio.sleep(attempts.pause_after(ended))

    async def again(self, action: Callable[[], Res]) -> Res:
        """Do something in a thread, and do it again while what it needs is away."""
        attempts = self._attempts()
        while True:
            try:
                return await asyncio.to_thread(action)
            except LinnetError as error:
                await asyncio.sleep(attempts.pause_after(error))

    def _attempts(self) -> Attempts:
        return Attempts(self._retry, time.monotonic, reached=self._reached)

    def _error(self, error: grpc.RpcError, sent: channels.Metadata) -> LinnetError:
        return channels.call_error(error, self._server, sent, reached=self._reached)


async def _led_by(
    first: Req, answer: "asyncio.Future[Res]", rest: Callable[[Res], Iterator[Req]]
) -> AsyncIterator[Req]:
    yield first
    for message in rest(await answer):
        yield message


def _or_broken_write(error: LinnetError) -> LinnetError:
    """Take a write into a stream that the server has just ended for what it is.

    grpc.aio then loses the server's status and tells of an internal error of its own.
    """
    if isinstance(error, Internal) and error.message == "Internal error from Core":
        return Unavailable("the stream broke while more was being sent")
    return error
