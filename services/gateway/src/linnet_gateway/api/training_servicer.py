"""TrainingService over gRPC: each call is handed through the guard."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message
from linnet.v1 import training_service_pb2_grpc

from linnet_gateway.api.guard import Guard
from linnet_gateway.api.method_names import SERVICE


def _unary(guard: Guard, name: str) -> Callable[..., Awaitable[Message]]:
    async def method(_self: object, request: Message, _context: Any) -> Message:
        return await guard.unary(name, request)

    return method


def _streaming(
    call: Callable[[str, Any], AsyncIterator[Message]], name: str
) -> Callable[..., AsyncIterator[Message]]:
    async def method(_self: object, request: Any, _context: Any) -> AsyncIterator[Message]:
        async for response in call(name, request):
            yield response

    return method


def training_servicer(guard: Guard) -> training_service_pb2_grpc.TrainingServiceServicer:
    """Make the servicer of a guarded API."""
    methods: dict[str, Any] = {}
    for method in SERVICE.methods:
        if method.client_streaming:
            methods[method.name] = _streaming(guard.bidi, method.name)
        elif method.server_streaming:
            methods[method.name] = _streaming(guard.stream, method.name)
        else:
            methods[method.name] = _unary(guard, method.name)
    servicer = type("Servicer", (training_service_pb2_grpc.TrainingServiceServicer,), methods)
    made: training_service_pb2_grpc.TrainingServiceServicer = servicer()
    return made
