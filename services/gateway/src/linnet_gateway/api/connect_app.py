"""TrainingService over Connect and gRPC-Web, for browsers and curl: the guard over ASGI."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf.message import Message
from linnet.v1.training_service_connect import TrainingServiceASGIApplication
from linnet_runtime import errors, logs
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES
from linnet_runtime.rpc.status import to_status
from linnet_runtime.rpc.validation import check
from protobuf.wkt import Any as PackedAny

from linnet_gateway.api.guard import Guard
from linnet_gateway.api.method_names import SERVICE, snake_case

_log = logs.get("linnet.connect")
_STREAM_KINDS = (b"application/connect+", b"application/grpc")
"""Kinds of bodies that hold more than one message."""


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


class _Methods:
    """Makes the service's methods: checked, guarded, translated and counted as over gRPC."""

    def __init__(self, guard: Guard, metrics: RpcMetrics) -> None:
        self._guard = guard
        self._metrics = metrics

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        method, begun, code = f"TrainingService/{name}", time.perf_counter(), "OK"
        try:
            yield
        except Exception as error:
            translated = _translated(error)
            code = translated.code.name
            raise translated from error
        finally:
            self._metrics.requests.labels(method, code).inc()
            self._metrics.seconds.labels(method).observe(time.perf_counter() - begun)

    def unary(self, name: str) -> Callable[..., Awaitable[Message]]:
        """Make a method that answers once."""

        async def method(_self: object, request: Message, context: Any) -> Message:
            with self._counted(name):
                check(request)
                return await self._guard.unary(name, _authorization(context), request)

        return method

    def streaming(self, name: str) -> Callable[..., AsyncIterator[Message]]:
        """Make a method that answers with a stream."""

        async def method(_self: object, request: Message, context: Any) -> AsyncIterator[Message]:
            with self._counted(name):
                check(request)
                async for response in self._guard.stream(name, _authorization(context), request):
                    yield response

        return method

    def bidi(self, name: str) -> Callable[..., AsyncIterator[Message]]:
        """Make a method with streams both ways."""

        async def method(
            _self: object, requests: AsyncIterator[Message], context: Any
        ) -> AsyncIterator[Message]:
            with self._counted(name):
                checked = _checked(requests)
                async for response in self._guard.bidi(name, _authorization(context), checked):
                    yield response

        return method


async def _checked(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        check(request)
        yield request


def _authorization(context: Any) -> str:
    return str(context.request_headers.get("authorization") or "")


class _Measured:
    """Counts unary requests that are too large, which are refused before any method is called."""

    def __init__(self, application: Any, metrics: RpcMetrics) -> None:
        self._application = application
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        name = str(scope.get("path", "")).rpartition("/")[2]
        kind = dict(scope.get("headers", ())).get(b"content-type", b"")
        if name not in SERVICE.methods_by_name or kind.startswith(_STREAM_KINDS):
            await self._application(scope, receive, send)
            return
        read_bytes = 0

        async def measured() -> Any:
            nonlocal read_bytes
            message = await receive()
            before = read_bytes
            read_bytes += len(message.get("body", b""))
            if before <= MAX_MESSAGE_BYTES < read_bytes:
                self._metrics.oversize.labels(f"TrainingService/{name}").inc()
            return message

        await self._application(scope, measured, send)


def connect_app(guard: Guard, metrics: RpcMetrics) -> Any:
    """Make the ASGI application of a guarded API."""
    make = _Methods(guard, metrics)
    methods: dict[str, Any] = {}
    for method in SERVICE.methods:
        if method.client_streaming:
            made: Any = make.bidi(method.name)
        elif method.server_streaming:
            made = make.streaming(method.name)
        else:
            made = make.unary(method.name)
        methods[snake_case(method.name)] = made
    service = type("Service", (), methods)()
    application = TrainingServiceASGIApplication(service, read_max_bytes=MAX_MESSAGE_BYTES)
    return _Measured(application, metrics)


class HttpServer:
    """Serves an ASGI application on a port until stopped."""

    def __init__(
        self, application: Any, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
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
        )
        config.load()
        config.ssl = tls
        self._server: uvicorn.Server = _server(config)
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


def _server(config: Any) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to the process."""

        def capture_signals(self) -> Any:
            """Capture none."""
            return nullcontext()

    return Server(config)
