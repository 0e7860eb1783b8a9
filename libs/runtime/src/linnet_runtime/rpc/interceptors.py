"""What every call of every servicer passes through, outermost first.

`ErrorInterceptor` asks who calls before it reads a message, checks the contract's rules on each,
turns the error tree into google.rpc.Status and counts calls; servicers therefore only convert and
call their use case.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from linnet_runtime import logs
from linnet_runtime.errors import LinnetError
from linnet_runtime.rpc.admission import Admission, Open, authorization_of
from linnet_runtime.rpc.message_limit import TOO_LARGE
from linnet_runtime.rpc.reading import Reader, request_kind
from linnet_runtime.rpc.status import to_status

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class RpcMetrics:
    """Calls by method and code, their durations, and open streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "linnet_rpc_requests",
            "Calls by method and status code.",
            ["method", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "linnet_rpc_duration_seconds",
            "Duration of unary calls.",
            ["method"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.oversize = Counter(
            "linnet_rpc_oversize",
            "Messages that were refused for their size, by method.",
            ["method"],
            registry=registry,
        )
        self.streams = Gauge(
            "linnet_rpc_streams", "Open streams by method.", ["method"], registry=registry
        )


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls in, reads and checks their requests, turns errors into statuses, counts."""

    def __init__(self, metrics: RpcMetrics, admission: Admission | None = None) -> None:
        self._metrics = metrics
        self._admission = admission or Open()
        self._reader = Reader()
        self._log = logs.get("linnet.rpc")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of Linnet's own methods; health and reflection pass unchanged.

        The wrapped handler is given bytes: gRPC would make the message before anybody is asked.
        """
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith("/linnet."):
            return handler
        call = _Call(
            self._metrics,
            self._admission,
            self._reader,
            method.removeprefix("/linnet.v1."),
            self._log,
        )
        kind = request_kind(method)
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                call.streaming(handler.stream_stream, kind, requests_stream=True),
                None,
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                call.streaming(handler.unary_stream, kind, requests_stream=False),
                None,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            call.unary(handler.unary_unary, kind), None, handler.response_serializer
        )


class _Call:
    """What happens around the behaviour of one method."""

    def __init__(
        self, metrics: RpcMetrics, admission: Admission, reader: Reader, method: str, log: Any
    ) -> None:
        self._metrics = metrics
        self._admission = admission
        self._reader = reader
        self._method = method
        self._name = method.rpartition("/")[2]
        self._log = log

    def unary(self, behaviour: Callable[..., Awaitable[Message]], kind: type[Message]) -> Any:
        """Wrap a behaviour that answers once."""

        async def call(data: bytes, context: Any) -> Message:
            begun = time.perf_counter()
            code = "OK"
            try:
                await self._admit(context)
                return await behaviour(await self._read(data, kind), context)
            except grpc.aio.AbortError:
                code = "ABORTED_BY_HANDLER"
                raise
            except Exception as error:
                answer = self._status(error)
                code = str(answer.code.name)
                await context.abort(answer.code, answer.details, answer.trailing_metadata)
                raise
            finally:
                self._metrics.requests.labels(self._method, code).inc()
                self._metrics.seconds.labels(self._method).observe(time.perf_counter() - begun)

        return call

    def streaming(
        self,
        behaviour: Callable[..., AsyncIterator[Message]],
        kind: type[Message],
        *,
        requests_stream: bool,
    ) -> Any:
        """Wrap a behaviour that answers with a stream."""

        async def call(data: Any, context: Any) -> AsyncIterator[Message]:
            code = "OK"
            self._metrics.streams.labels(self._method).inc()
            try:
                await self._admit(context)
                request: Any = self._each(data, kind)
                if not requests_stream:
                    request = await self._read(data, kind)
                async for response in behaviour(request, context):
                    yield response
            except grpc.aio.AbortError:
                code = "ABORTED_BY_HANDLER"
                raise
            except Exception as error:
                answer = self._status(error)
                code = str(answer.code.name)
                await context.abort(answer.code, answer.details, answer.trailing_metadata)
                raise
            finally:
                self._metrics.streams.labels(self._method).dec()
                self._metrics.requests.labels(self._method, code).inc()

        return call

    def _status(self, error: Exception) -> Any:
        status = to_status(error)
        if not isinstance(error, LinnetError):
            with structlog.contextvars.bound_contextvars(method=self._method):
                self._log.exception("internal_error", answer=status.message)
        return rpc_status.to_status(status)

    async def _admit(self, context: Any) -> None:
        authorization = authorization_of(context.invocation_metadata())
        try:
            await self._admission.admit(self._name, authorization)
        except LinnetError as error:
            await self._admission.refused(self._name, error)
            raise

    async def _read(self, data: bytes, kind: type[Message]) -> Message:
        try:
            return await self._reader.read(data, kind)
        except LinnetError as error:
            if error.reason == TOO_LARGE:
                self._metrics.oversize.labels(self._method).inc()
            await self._admission.refused(self._name, error)
            raise

    async def _each(
        self, datas: AsyncIterator[bytes], kind: type[Message]
    ) -> AsyncIterator[Message]:
        async for data in datas:
            yield await self._read(data, kind)
