"""Errors ⇄ google.rpc.Status with details."""

import re
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from linnet_runtime import errors
from linnet_runtime.errors import Code, InvalidInput, LinnetError, Violation

DOMAIN = "linnet.dev"
_MORE = re.compile(r"\.\.\. and (?:(\d+) )?more")
_MAX_VIOLATIONS = 20
_MAX_VIOLATION_BYTES = 2048
_MAX_MESSAGE_BYTES = 1024
_MAX_FIELD_BYTES = 256
"""A status travels in trailers, of which gRPC takes 8 KiB: its message in percent code, three bytes
for one at worst, and once more with the details, in base64."""


def to_status(error: BaseException) -> status_pb2.Status:
    """Make the status of an error; an unexpected one tells nothing but an id to search logs for."""
    if not isinstance(error, LinnetError):
        error = errors.Internal(
            f"internal error {uuid.uuid4().hex[:12]}; the service's log has more"
        )
    message = _cut(error.message, _MAX_MESSAGE_BYTES)
    metadata = {key: _cut(value, _MAX_FIELD_BYTES) for key, value in error.metadata.items()}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    ]
    if isinstance(error, InvalidInput):
        violations = _told(error.violations)
        message = _cut(
            "; ".join(f"{v.field}: {v.description}" for v in violations), _MAX_MESSAGE_BYTES
        )
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=v.field, description=v.description
                    )
                    for v in violations
                ]
            )
        )
    elif isinstance(error, errors.NotFound):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=error.kind, resource_name=_cut(error.name, _MAX_FIELD_BYTES)
            )
        )
    elif isinstance(error, errors.NotAllowedInState):
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=error.reason, description=_cut(error.message, _MAX_FIELD_BYTES))
        details.append(failure)
    elif isinstance(error, errors.QuotaExceeded):
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(
            subject=error.reason, description=_cut(error.message, _MAX_FIELD_BYTES)
        )
        details.append(quota)
    elif isinstance(error, errors.Unavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(retry)
    packed = []
    for detail in details:
        holder = PackedAny()
        holder.Pack(detail)
        packed.append(holder)
    return status_pb2.Status(code=error.code.value, message=message, details=packed)


def _told(violations: Sequence[Violation]) -> list[Violation]:
    """Give the first violations, as many as a status can carry, and the number of the others."""
    told: list[Violation] = []
    size_bytes = 0
    for violation in violations:
        cut = Violation(
            _cut(violation.field, _MAX_FIELD_BYTES), _cut(violation.description, _MAX_MESSAGE_BYTES)
        )
        size_bytes += len(cut.field.encode()) + len(cut.description.encode())
        if told and (len(told) >= _MAX_VIOLATIONS or size_bytes > _MAX_VIOLATION_BYTES):
            return [*told, Violation("request", _more(violations[len(told) :]))]
        told.append(cut)
    return told


def _more(left: Sequence[Violation]) -> str:
    # What searched for them may have stopped early, and says so itself.
    said = _MORE.fullmatch(left[-1].description)
    if said is None:
        return f"... and {len(left)} more"
    count = said.group(1)
    return "... and more" if count is None else f"... and {len(left) - 1 + int(count)} more"


def _cut(text: str, limit_bytes: int) -> str:
    """Leave out the middle of a text that is too long: what came is told at its end."""
    data = text.encode(errors="replace")
    if len(data) <= limit_bytes:
        return text
    tail_bytes = limit_bytes // 3
    head = data[: limit_bytes - tail_bytes - 3].decode(errors="ignore")
    return f"{head}...{data[-tail_bytes:].decode(errors='ignore')}"


_BY_CODE: dict[int, type[LinnetError]] = {
    Code.UNAUTHENTICATED.value: errors.Unauthenticated,
    Code.PERMISSION_DENIED.value: errors.PermissionDenied,
    Code.ALREADY_EXISTS.value: errors.AlreadyExists,
    Code.ABORTED.value: errors.Conflict,
    Code.FAILED_PRECONDITION.value: errors.NotAllowedInState,
    Code.RESOURCE_EXHAUSTED.value: errors.QuotaExceeded,
    Code.DEADLINE_EXCEEDED.value: errors.DeadlineExceeded,
    Code.UNAVAILABLE.value: errors.Unavailable,
}


def from_status(status: status_pb2.Status) -> LinnetError:
    """Make the error that a status tells of."""
    reason: str | None = None
    metadata: dict[str, str] = {}
    violations: list[Violation] = []
    resource = error_details_pb2.ResourceInfo()
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [Violation(v.field, v.description) for v in bad.field_violations]
        else:
            detail.Unpack(resource)
    if status.code == Code.INVALID_ARGUMENT.value:
        return InvalidInput(
            violations or [Violation("request", status.message)], reason=reason, metadata=metadata
        )
    if status.code == Code.NOT_FOUND.value and resource.resource_name:
        return errors.NotFound(resource.resource_type, resource.resource_name)
    kind = _BY_CODE.get(status.code, errors.Internal)
    return kind(status.message, reason=reason, metadata=metadata)


def from_rpc_error(error: grpc.RpcError) -> LinnetError:
    """Make the error that a failed call tells of."""
    call: Any = error  # what a call raises is also its grpc.Call; the stubs don't say so
    if not hasattr(call, "code"):
        return errors.Unavailable(str(error))
    if isinstance(call, grpc.aio.AioRpcError):
        status = _packed_status(call.trailing_metadata())
    else:
        status = rpc_status.from_call(call)
    if status is None and call.code() is grpc.StatusCode.CANCELLED and not _closed_here(call):
        # A server that stops gives up the calls that reach it in that moment.
        return errors.Unavailable("the server stopped before it answered")
    if status is None:
        status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")
    return from_status(status)


def _closed_here(call: Any) -> bool:
    # In gRPC's own words: the caller closed the connection that the call was made on.
    return "channel closed" in (call.details() or "").lower()


def _packed_status(metadata: Any) -> status_pb2.Status | None:
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return None
