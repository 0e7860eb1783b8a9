"""The use cases: profile stored models, estimate layer lists; each opened in a child."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from google.protobuf import json_format
from linnet.v1 import dataset_pb2, profile_pb2, profiler_service_pb2
from linnet_runtime.errors import InvalidInput
from linnet_runtime.objectstore import ObjectStore
from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes

from linnet_profiler.targets import find_target, targets

Request = profiler_service_pb2.ProfileRequest | profiler_service_pb2.EstimateRequest


@dataclass(frozen=True, slots=True)
class OpeningLimits:
    """What opening one model may take."""

    model_bytes: int
    child: Limits
    concurrency: int


class Profiling:
    """Profiles models and layer lists; the store and the sandbox come in."""

    def __init__(self, store: ObjectStore, sandbox: Sandbox, limits: OpeningLimits) -> None:
        self._store = store
        self._sandbox = sandbox
        self._limits = limits
        self._places = asyncio.Semaphore(limits.concurrency)

    async def profile(
        self, request: profiler_service_pb2.ProfileRequest
    ) -> profiler_service_pb2.ProfileResponse:
        """Profile every model of a request for every target of it.

        Raises:
            InvalidInput: A target is unknown, a model is too large or is no model.
            SandboxFailure: Opening a model crashed, or took too long or too much.
            NotFound: A model is not in the store.
            Unavailable: The store can't be reached.
        """
        _check_targets(request)
        found = await asyncio.gather(
            *(self._profile_model(request, index) for index in range(len(request.models)))
        )
        response = profiler_service_pb2.ProfileResponse(
            profiles=[profile for profiles in found for profile in profiles],
            smallest_target=_smallest(found),
        )
        if request.result_key:
            data = json_format.MessageToJson(response, preserving_proto_field_name=True).encode()
            await asyncio.to_thread(self._store.put, request.result_key, data, "application/json")
            response.result.CopyFrom(
                dataset_pb2.StoredFile(
                    name="profile.json",
                    key=request.result_key,
                    size_bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
        return response

    async def _profile_model(
        self, request: profiler_service_pb2.ProfileRequest, index: int
    ) -> Sequence[profile_pb2.Profile]:
        model = request.models[index]
        async with self._places:
            return await asyncio.to_thread(self._open, request, model, f"models[{index}]")

    def _open(
        self,
        request: profiler_service_pb2.ProfileRequest,
        model: profiler_service_pb2.ProfiledModel,
        field: str,
    ) -> Sequence[profile_pb2.Profile]:
        content = self._content(model, field)
        answer = self._call("profile_model", request, content)
        response = profiler_service_pb2.ProfileResponse.FromString(answer)
        digest = hashlib.sha256(content).hexdigest()
        for profile in response.profiles:
            profile.variant = model.variant
            profile.model_sha256 = digest
        return response.profiles

    async def estimate(
        self, request: profiler_service_pb2.EstimateRequest
    ) -> profiler_service_pb2.EstimateResponse:
        """Profile what a layer list will be exported to, for every target of a request.

        Raises:
            InvalidInput: A target is unknown or a layer does not fit.
            SandboxFailure: The layer list took too long or too much.
        """
        _check_targets(request)
        async with self._places:
            answer = await asyncio.to_thread(
                self._call, "estimate_layers", request, request.SerializeToString()
            )
        response = profiler_service_pb2.EstimateResponse.FromString(answer)
        variants = [list(each) for _, each in groupby(response.profiles, attrgetter("variant"))]
        response.smallest_target = _smallest(variants)
        return response

    def _call(self, function: str, request: Request, content: bytes) -> bytes:
        with SharedBytes(content) as shared:
            answer = self._sandbox.run(
                f"linnet_profiler.serving.opened:{function}",
                _arguments(request),
                [shared],
                self._limits.child,
            )
        return bytes(answer.outputs[0])

    def _content(self, model: profiler_service_pb2.ProfiledModel, field: str) -> bytes:
        if model.WhichOneof("source") == "content":
            return model.content
        key = model.file.key
        size_bytes = self._store.stat(key).size_bytes
        if size_bytes > self._limits.model_bytes:
            raise InvalidInput.of(
                f"{field}.file",
                f"expected at most {self._limits.model_bytes} bytes, received {size_bytes}",
                reason="MODEL_TOO_LARGE",
            )
        content = self._store.get(key)
        digest = hashlib.sha256(content).hexdigest()
        if model.file.sha256 and digest != model.file.sha256:
            raise InvalidInput.of(
                f"{field}.file.sha256",
                f"expected the digest {model.file.sha256}, the stored file has {digest}",
                reason="DIGEST_MISMATCH",
            )
        return content


def _arguments(request: Request) -> dict[str, Any]:
    budgets = request.budgets
    return {
        "targets": list(request.targets),
        "kernels": request.kernels or None,
        "clock_hz": request.clock_hz or None,
        "ram_bytes": budgets.ram_bytes or None,
        "flash_bytes": budgets.flash_bytes or None,
        "latency_ms": budgets.latency_us / 1000 or None,
    }


def _check_targets(request: Request) -> None:
    for index, target in enumerate(request.targets):
        _known(target, f"targets[{index}]")


def _known(target: str, field: str) -> None:
    try:
        find_target(target)
    except InvalidInput as error:
        raise InvalidInput.of(field, error.violations[0].description, reason=error.reason) from None


def _smallest(found: Sequence[Sequence[profile_pb2.Profile]]) -> str:
    fitting = set.intersection(
        *({profile.target for profile in profiles if profile.verdict.fits} for profiles in found)
    )
    order = sorted(
        (t for t in targets().values() if t.id in fitting),
        key=lambda t: (t.ram_bytes, t.flash_bytes, t.clock_hz, t.id),
    )
    return order[0].id if order else ""
