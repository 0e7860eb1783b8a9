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
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES
from linnet_runtime.sandbox import Answer, Limits, Sandbox, SharedBytes

from linnet_profiler.custom_targets import read_custom_target
from linnet_profiler.interpreter.sandboxed import check_in_sandbox
from linnet_profiler.serving.messages import check_message, custom_target_values
from linnet_profiler.targets import Target, find_target, targets

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
            InvalidInput: A target is unknown, a model is too large or is no model, or so many
                targets of so long a model do not go into one answer.
            SandboxFailure: Opening a model crashed, or took too long or too much.
            NotFound: A model is not in the store.
            Unavailable: The store can't be reached.
        """
        known = _known_targets(request)
        found = await asyncio.gather(
            *(self._profile_model(request, index) for index in range(len(request.models)))
        )
        response = profiler_service_pb2.ProfileResponse(
            profiles=[profile for one in found for profile in one.profiles],
            smallest_target=_smallest([one.profiles for one in found], known),
            checks=[check for one in found for check in one.checks],
        )
        _check_size(response)
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
    ) -> profiler_service_pb2.ProfileResponse:
        model = request.models[index]
        async with self._places:
            return await asyncio.to_thread(self._open, request, model, f"models[{index}]")

    def _open(
        self,
        request: profiler_service_pb2.ProfileRequest,
        model: profiler_service_pb2.ProfiledModel,
        field: str,
    ) -> profiler_service_pb2.ProfileResponse:
        content = self._content(model, field)
        answer = self._call("profile_model", request, content)
        response = profiler_service_pb2.ProfileResponse.FromString(bytes(answer.outputs[0]))
        digest = hashlib.sha256(content).hexdigest()
        for profile in response.profiles:
            profile.variant = model.variant
            profile.model_sha256 = digest
        if request.check_interpreter:
            said = check_in_sandbox(self._sandbox, content, int(answer.value), self._limits.child)
            response.checks.append(check_message(said))
            response.checks[0].variant = model.variant
        return response

    async def estimate(
        self, request: profiler_service_pb2.EstimateRequest
    ) -> profiler_service_pb2.EstimateResponse:
        """Profile what a layer list will be exported to, for every target of a request.

        Raises:
            InvalidInput: A target is unknown or a layer does not fit.
            SandboxFailure: The layer list took too long or too much.
        """
        known = _known_targets(request)
        async with self._places:
            answer = await asyncio.to_thread(
                self._call, "estimate_layers", request, request.SerializeToString()
            )
        response = profiler_service_pb2.EstimateResponse.FromString(bytes(answer.outputs[0]))
        variants = [list(each) for _, each in groupby(response.profiles, attrgetter("variant"))]
        response.smallest_target = _smallest(variants, known)
        _check_size(response)
        return response

    def _call(self, function: str, request: Request, content: bytes) -> Answer:
        with SharedBytes(content) as shared:
            return self._sandbox.run(
                f"linnet_profiler.serving.opened:{function}",
                _arguments(request),
                [shared],
                self._limits.child,
            )

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
        "custom_targets": [custom_target_values(one) for one in request.custom_targets],
        "check": isinstance(request, profiler_service_pb2.ProfileRequest)
        and request.check_interpreter,
        "kernels": request.kernels or None,
        "clock_hz": request.clock_hz or None,
        "ram_bytes": budgets.ram_bytes or None,
        "flash_bytes": budgets.flash_bytes or None,
        "latency_ms": budgets.latency_us / 1000 or None,
    }


def _known_targets(request: Request) -> list[Target]:
    """Every target that a request may mean; refuses by place what it may not."""
    for index, target in enumerate(request.targets):
        _known(target, f"targets[{index}]")
    custom: dict[str, Target] = {}
    for index, given in enumerate(request.custom_targets):
        path = f"custom_targets[{index}]"
        mine = read_custom_target(custom_target_values(given), path)
        if mine.id in custom:
            raise InvalidInput.of(
                f"{path}.name",
                f"expected a name of its own, {mine.id!r} is another's",
                reason="CUSTOM_TARGET_INVALID",
            )
        custom[mine.id] = mine
    return [*targets().values(), *custom.values()]


def _check_size(
    response: profiler_service_pb2.ProfileResponse | profiler_service_pb2.EstimateResponse,
) -> None:
    size_bytes = response.ByteSize()
    if size_bytes > MAX_MESSAGE_BYTES:
        raise InvalidInput.of(
            "targets",
            f"expected fewer targets or models: {len(response.profiles)} profiles take "
            f"{size_bytes} bytes, an answer holds {MAX_MESSAGE_BYTES}",
            reason="ANSWER_TOO_LARGE",
        )


def _known(target: str, field: str) -> None:
    try:
        find_target(target)
    except InvalidInput as error:
        raise InvalidInput.of(field, error.violations[0].description, reason=error.reason) from None


def _smallest(found: Sequence[Sequence[profile_pb2.Profile]], known: Sequence[Target]) -> str:
    fitting = set.intersection(
        *({profile.target for profile in profiles if profile.verdict.fits} for profiles in found)
    )
    order = sorted(
        (t for t in known if t.id in fitting),
        key=lambda t: (t.ram_bytes, t.flash_bytes, t.clock_hz, t.id),
    )
    return order[0].id if order else ""
