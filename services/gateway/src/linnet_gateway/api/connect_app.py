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
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES, TOO_LARGE, too_large
from linnet_runtime.rpc.message_shape import malformed
from linnet_runtime.rpc.reading import Reader
from linnet_runtime.rpc.status import to_status
from protobuf.wkt import Any as PackedAny

from linnet_gateway.api.bodies import Body, body_codecs
from linnet_gateway.api.guard import Guard
from linnet_gateway.api.method_names import SERVICE, snake_case

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


class _Door:
    """Lets calls in before their bodies are read, and counts how each ends."""

    def __init__(self, guard: Guard, metrics: RpcMetrics) -> None:
        self._guard = guard
        self._metrics = metrics

    async def on_start(self, ctx: Any) -> float:
        """Let a call in; gives when it began."""
        begun, name = time.perf_counter(), ctx.method.name
        authorization = str(ctx.request_headers.get("authorization") or "")
        try:
            await self._guard.admit(name, authorization)
        except errors.LinnetError as error:
            await self._guard.refused(name, error)
            answer = _translated(error)
            self._count(name, begun, answer.code.name)
            raise answer from error
        return begun

    async def on_end(self, begun: float, ctx: Any, error: Exception | None) -> None:
        """Count a call; one whose body could not be read is told so by name."""
        name = ctx.method.name
        if error is None:
            self._count(name, begun, "OK")
            return
        unread = _unread(error)
        if unread is None:
            self._count(name, begun, _translated(error).code.name)
            return
        if unread.reason == TOO_LARGE:
            self._metrics.oversize.labels(f"TrainingService/{name}").inc()
        await self._guard.refused(name, unread)
        answer = _translated(unread)
        self._count(name, begun, answer.code.name)
        raise answer from error

    def _count(self, name: str, begun: float, code: str) -> None:
        method = f"TrainingService/{name}"
        self._metrics.requests.labels(method, code).inc()
        self._metrics.seconds.labels(method).observe(time.perf_counter() - begun)


def _unread(error: Exception) -> errors.LinnetError | None:
    """Give what an error of connectrpc's own says of a body, in Linnet's words."""
    if not isinstance(error, ConnectError) or error.details:
        return None
    if error.code is Code.RESOURCE_EXHAUSTED:
        return too_large(f"more than {MAX_MESSAGE_BYTES}")
    return malformed(error.message) if error.code is Code.INVALID_ARGUMENT else None


class _Methods:
    """Makes the service's methods: read, guarded and translated as over gRPC."""

    def __init__(self, guard: Guard, reader: Reader) -> None:
        self._guard = guard
        self._reader = reader

    def unary(self, name: str) -> Callable[..., Awaitable[Message]]:
        """Make a method that answers once."""

        async def method(_self: object, body: Body, _context: Any) -> Message:
            with _translating():
                return await self._guard.unary(name, await self._read(name, body))

        return method

    def streaming(self, name: str) -> Callable[..., AsyncIterator[Message]]:
        """Make a method that answers with a stream."""

        async def method(_self: object, body: Body, _context: Any) -> AsyncIterator[Message]:
            with _translating():
                async for response in self._guard.stream(name, await self._read(name, body)):
                    yield response

        return method

    def bidi(self, name: str) -> Callable[..., AsyncIterator[Message]]:
        """Make a method with streams both ways."""

        async def method(
            _self: object, bodies: AsyncIterator[Body], _context: Any
        ) -> AsyncIterator[Message]:
            with _translating():
                async for response in self._guard.bidi(name, self._each(name, bodies)):
                    yield response

        return method

    async def _each(self, name: str, bodies: AsyncIterator[Body]) -> AsyncIterator[Message]:
        async for body in bodies:
            yield await self._read(name, body)

    async def _read(self, name: str, body: Body) -> Message:
        try:
            return await body.read(self._reader)
        except errors.LinnetError as error:
            await self._guard.refused(name, error)
            raise


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _translated(error) from error


def connect_app(guard: Guard, metrics: RpcMetrics) -> Any:
    """Make the ASGI application of a guarded API."""
    make = _Methods(guard, Reader())
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
    return TrainingServiceASGIApplication(
        service,
        interceptors=[_Door(guard, metrics)],
        read_max_bytes=MAX_MESSAGE_BYTES,
        codecs=body_codecs(),
    )


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
