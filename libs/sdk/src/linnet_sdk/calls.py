"""Blocking calls that are made again, and streams that are continued."""

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from linnet_runtime.errors import LinnetError, Unavailable

from linnet_sdk import channels
from linnet_sdk.retries import Attempts, RetryPolicy
from linnet_sdk.server_address import ServerAddress

Req = TypeVar("Req")
Res = TypeVar("Res")


class Calls:
    """The connection to one server; may be used from several threads."""

    def __init__(self, server: ServerAddress, retry: RetryPolicy, timeout_s: float) -> None:
        self.channel = channels.open_channel(server)
        self._server = server
        self._retry = retry
        self._timeout_s = timeout_s
        self._reached = False

    def close(self) -> None:
        """Close the connection; streams under way end with an error."""
        self.channel.close()

    def unary(self, method: "grpc.UnaryUnaryMultiCallable[Req, Res]", request: Req) -> Res:
        """Call, and call again while the server is away."""
        attempts = self._attempts()
        while True:
            sent = channels.call_metadata(self._server)
            try:
                answer = method(request, timeout=self._timeout_s, metadata=sent)
            except grpc.RpcError as error:
                time.sleep(attempts.pause_after(self._error(error, sent)))
            else:
                self._reached = True
                return answer

    def stream(
        self,
        method: "grpc.UnaryStreamMultiCallable[Any, Res]",
        request: Any,
        *,
        is_last: Callable[[Res], bool],
        may_end: bool = False,
    ) -> Iterator[Res]:
        """Stream responses; a stream that breaks is continued from its last `resume_token`.

        Args:
            method: The call.
            request: Its request, with a field `resume_token`, which is moved on.
            is_last: Whether a response is the last one there will be.
            may_end: Whether the stream may end without one.
        """
        attempts = self._attempts()
        while True:
            sent = channels.call_metadata(self._server)
            try:
                for response in method(request, metadata=sent):
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
            time.sleep(attempts.pause_after(ended))

    def converse(
        self,
        method: "grpc.StreamStreamMultiCallable[Req, Res]",
        first: Req,
        rest: Callable[[Res], Iterator[Req]],
        *,
        is_last: Callable[[Res], bool],
    ) -> Iterator[Res]:
        """Send a message, then those that follow from its answer; begin again when it breaks.

        Args:
            method: The call.
            first: The message that it begins with.
            rest: Gives what is sent after the answer to the first message.
            is_last: Whether a response is the last one there will be.
        """
        attempts = self._attempts()
        while True:
            answers: queue.SimpleQueue[Res | None] = queue.SimpleQueue()
            answered = False
            sent = channels.call_metadata(self._server)
            try:
                for response in method(_led_by(first, answers, rest), metadata=sent):
                    attempts.succeeded()
                    self._reached = True
                    if not answered:
                        answered = True
                        answers.put(response)
                    yield response
                    if is_last(response):
                        return
            except grpc.RpcError as error:
                ended = self._error(error, sent)
            else:
                ended = Unavailable("the stream ended before everything was taken")
            finally:
                answers.put(None)  # whoever waits to send the rest is let go
            time.sleep(attempts.pause_after(ended))

    def again(self, action: Callable[[], Res]) -> Res:
        """Do something, and do it again while what it needs is away."""
        attempts = self._attempts()
        while True:
            try:
                return action()
            except LinnetError as error:
                time.sleep(attempts.pause_after(error))

    def _attempts(self) -> Attempts:
        return Attempts(self._retry, time.monotonic, reached=self._reached)

    def _error(self, error: grpc.RpcError, sent: channels.Metadata) -> LinnetError:
        return channels.call_error(error, self._server, sent, reached=self._reached)


def _led_by(
    first: Req, answers: "queue.SimpleQueue[Res | None]", rest: Callable[[Res], Iterator[Req]]
) -> Iterator[Req]:
    yield first
    answer = answers.get()
    if answer is not None:
        yield from rest(answer)
