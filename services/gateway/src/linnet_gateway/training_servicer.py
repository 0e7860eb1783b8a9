"""TrainingService over gRPC: each method hands through to the API of the same name."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message
from linnet.v1 import training_service_pb2, training_service_pb2_grpc

from linnet_gateway.training_api import TrainingApi

_SERVICE = training_service_pb2.DESCRIPTOR.services_by_name["TrainingService"]


def snake_case(method: str) -> str:
    """Give the Python name of a method of the contract: `CreateRun` → `create_run`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()


def _unary(call: Callable[[Message], Awaitable[Message]]) -> Callable[..., Awaitable[Message]]:
    async def method(_self: object, request: Message, _context: Any) -> Message:
        return await call(request)

    return method


def _streaming(
    call: Callable[[Any], AsyncIterator[Message]],
) -> Callable[..., AsyncIterator[Message]]:
    async def method(_self: object, request: Any, _context: Any) -> AsyncIterator[Message]:
        async for response in call(request):
            yield response

    return method


def training_servicer(api: TrainingApi) -> training_service_pb2_grpc.TrainingServiceServicer:
    """Make the servicer of an API, which must have every method of the contract."""
    methods: dict[str, Any] = {}
    for method in _SERVICE.methods:
        call = getattr(api, snake_case(method.name), None)
        if call is not None:
            methods[method.name] = _streaming(call) if method.server_streaming else _unary(call)
    servicer = type("Servicer", (training_service_pb2_grpc.TrainingServiceServicer,), methods)
    made: training_service_pb2_grpc.TrainingServiceServicer = servicer()
    return made
