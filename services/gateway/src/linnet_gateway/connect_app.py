"""TrainingService over Connect and gRPC-Web, for browsers and curl: the guard over ASGI."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf.message import Message
from linnet.v1.training_service_connect import TrainingServiceASGIApplication
from linnet_runtime import errors, logs
from linnet_runtime.rpc.server import MAX_MESSAGE_BYTES
from linnet_runtime.rpc.status import to_status
from linnet_runtime.rpc.validation import check
from protobuf.wkt import Any as PackedAny

from linnet_gateway.guard import Guard
from linnet_gateway.method_names import SERVICE, snake_case

_log = logs.get("linnet.connect")


def _translated(error: Exception) -> ConnectError:
    if isinstance(error, ConnectError):
        return error
    status = to_status(error)
    if not isinstance(error, errors.LinnetError):
        _log.error("internal_error", answer=status.message, exc_info=error)
    details = [
        ErrorDetail(PackedAny(type_url=packed.type_url, value=packed.value))
        for packed in status.details
    ]
    return ConnectError(Code[errors.Code(status.code).name], status.message, details)


def _unary(guard: Guard, name: str) -> Callable[..., Awaitable[Message]]:
    async def method(_self: object, request: Message, context: Any) -> Message:
        try:
            check(request)
            return await guard.unary(name, _authorization(context), request)
        except Exception as error:
            raise _translated(error) from error

    return method


def _streaming(guard: Guard, name: str) -> Callable[..., AsyncIterator[Message]]:
    async def method(_self: object, request: Message, context: Any) -> AsyncIterator[Message]:
        try:
            check(request)
            async for response in guard.stream(name, _authorization(context), request):
                yield response
        except Exception as error:
            raise _translated(error) from error

    return method


def _bidi(guard: Guard, name: str) -> Callable[..., AsyncIterator[Message]]:
    async def method(
        _self: object, requests: AsyncIterator[Message], context: Any
    ) -> AsyncIterator[Message]:
        try:
            async for response in guard.bidi(name, _authorization(context), _checked(requests)):
                yield response
        except Exception as error:
            raise _translated(error) from error

    return method


async def _checked(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        check(request)
        yield request


def _authorization(context: Any) -> str:
    return str(context.request_headers.get("authorization") or "")


def connect_app(guard: Guard) -> TrainingServiceASGIApplication:
    """Make the ASGI application of a guarded API."""
    methods: dict[str, Any] = {}
    for method in SERVICE.methods:
        make = _unary
        if method.client_streaming:
            make = _bidi  # type: ignore[assignment]  # the shapes differ as the methods do
        elif method.server_streaming:
            make = _streaming  # type: ignore[assignment]  # as above
        methods[snake_case(method.name)] = make(guard, method.name)
    service = type("Service", (), methods)()
    return TrainingServiceASGIApplication(service, read_max_bytes=MAX_MESSAGE_BYTES)


class HttpServer:
    """Serves an ASGI application on a port until stopped."""

    def __init__(self, application: Any, host: str, port: int, **tls: Any) -> None:
        import uvicorn

        config = uvicorn.Config(
            application,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=64 * 1024,
            **tls,
        )
        self._server: uvicorn.Server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to serve and give the port."""
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            if self._task.done():
                await self._task
                raise errors.Unavailable("the HTTP port can't be opened")
            await asyncio.sleep(0.01)
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Let calls end, then stop."""
        self._server.should_exit = True
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task


def _server_class() -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to the process."""

        def capture_signals(self) -> Any:
            from contextlib import nullcontext

            return nullcontext()

    return Server


def _Server(config: Any) -> Any:  # noqa: N802 - makes one as a class would
    return _server_class()(config)
