"""Who calls: the static token of local use."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from linnet_runtime.errors import Unauthenticated

_BEARER = "Bearer "


class StaticToken:
    """One token that every caller presents; None lets everybody in."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, authorization: str) -> None:
        """Check an `authorization` header; raises `Unauthenticated`."""
        if self._token is None:
            return
        if not authorization.startswith(_BEARER):
            raise Unauthenticated(
                "expected `authorization: Bearer <token>` metadata, received none",
                reason="NO_TOKEN",
            )
        given = authorization.removeprefix(_BEARER).encode()
        if not hmac.compare_digest(given, self._token):
            raise Unauthenticated(
                "the token is not one that this gateway knows", reason="BAD_TOKEN"
            )


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Lets nobody call a method of Linnet's own without a token."""

    def __init__(self, tokens: StaticToken) -> None:
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Check the caller before the method's own handler runs."""
        handler = await continuation(handler_call_details)
        if handler is None or not str(handler_call_details.method).startswith("/linnet."):
            return handler
        header = ""
        for key, value in handler_call_details.invocation_metadata or ():
            if key == "authorization":
                header = str(value)
        if handler.response_streaming:
            return _streaming(handler, lambda: self._tokens.check(header))
        return grpc.unary_unary_rpc_method_handler(
            _unary(handler.unary_unary, lambda: self._tokens.check(header)),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _unary(behaviour: Any, check: Callable[[], None]) -> Any:
    async def call(request: Message, context: Any) -> Message:
        check()
        answer: Message = await behaviour(request, context)
        return answer

    return call


def _streaming(handler: Any, check: Callable[[], None]) -> Any:
    behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream

    async def call(request: Any, context: Any) -> AsyncIterator[Message]:
        check()
        async for response in behaviour(request, context):
            yield response

    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    return make(call, handler.request_deserializer, handler.response_serializer)
