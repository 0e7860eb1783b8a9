"""What every call of every servicer passes through, outermost first.

`ErrorInterceptor` turns the error tree into google.rpc.Status, checks the contract's rules on each
request message and counts calls; servicers therefore only convert and call their use case.
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
from linnet_runtime.rpc.message_limit import Oversize, limited
from linnet_runtime.rpc.status import to_status
from linnet_runtime.rpc.validation import check

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
    """Turns errors into statuses, checks requests, counts calls."""

    def __init__(self, metrics: RpcMetrics) -> None:
        self._metrics = metrics
        self._log = logs.get("linnet.rpc")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of Linnet's own methods; health and reflection pass unchanged."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith("/linnet."):
            return handler
        short = method.removeprefix("/linnet.v1.")
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._streaming(handler.stream_stream, short, requests_stream=True),
                limited(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(handler.unary_stream, short, requests_stream=False),
                limited(handler.request_deserializer),
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(handler.unary_unary, short),
            limited(handler.request_deserializer),
            handler.response_serializer,
        )

    def _unary(self, behaviour: Callable[..., Awaitable[Message]], method: str) -> Any:
        async def call(request: Message, context: Any) -> Message:
            begun = time.perf_counter()
            code = "OK"
            try:
                self._check(request, method)
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                code = "ABORTED_BY_HANDLER"
                raise
            except Exception as error:
                answer = self._status(error, method)
                code = str(answer.code.name)
                await context.abort(answer.code, answer.details, answer.trailing_metadata)
                raise
            finally:
                self._metrics.requests.labels(method, code).inc()
                self._metrics.seconds.labels(method).observe(time.perf_counter() - begun)

        return call

    def _streaming(
        self,
        behaviour: Callable[..., AsyncIterator[Message]],
        method: str,
        *,
        requests_stream: bool,
    ) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Message]:
            code = "OK"
            self._metrics.streams.labels(method).inc()
            try:
                if requests_stream:
                    request = self._checked(request, method)
                else:
                    self._check(request, method)
                async for response in behaviour(request, context):
                    yield response
            except grpc.aio.AbortError:
                code = "ABORTED_BY_HANDLER"
                raise
            except Exception as error:
                answer = self._status(error, method)
                code = str(answer.code.name)
                await context.abort(answer.code, answer.details, answer.trailing_metadata)
                raise
            finally:
                self._metrics.streams.labels(method).dec()
                self._metrics.requests.labels(method, code).inc()

        return call

    def _status(self, error: Exception, method: str) -> Any:
        status = to_status(error)
        if not isinstance(error, LinnetError):
            with structlog.contextvars.bound_contextvars(method=method):
                self._log.exception("internal_error", answer=status.message)
        return rpc_status.to_status(status)

    def _check(self, request: Any, method: str) -> None:
        if isinstance(request, Oversize):
            self._metrics.oversize.labels(method).inc()
            raise request.refusal()
        check(request)

    async def _checked(self, requests: AsyncIterator[Any], method: str) -> AsyncIterator[Message]:
        async for request in requests:
            self._check(request, method)
            yield request
