"""What every public call passes, whatever the transport: identity, rate, role, audit."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from linnet_runtime.clock import Clock
from linnet_runtime.errors import (
    DeadlineExceeded,
    InvalidInput,
    LinnetError,
    PermissionDenied,
    QuotaExceeded,
    Unauthenticated,
)

from linnet_gateway.api.access import MUTATING, Principal, check_role, named_in, resource_of
from linnet_gateway.api.audit import BEGUN, Audit
from linnet_gateway.api.identity import Identity
from linnet_gateway.api.method_names import snake_case
from linnet_gateway.api.refused_calls import UNKNOWN, RefusedCalls
from linnet_gateway.uids import new_uid

_MAX_CALLERS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Calls of one caller.

    Attributes:
        per_s: Calls a second, over time.
        burst: Calls at once after a pause.
        streams: Streams that are open at once.
        idle_s: Time within which a caller who streams must send something.
    """

    per_s: float = 500.0
    burst: float = 2000.0
    streams: int = 2000
    idle_s: float = 300.0


@dataclass(slots=True)
class _Note:
    """What the audit log will say of a call."""

    resource: str


@dataclass(slots=True)
class _Caller:
    """Who makes the call that is under way, and whether its use case has begun."""

    principal: Principal
    noted: bool = False


_CALLER: ContextVar[_Caller] = ContextVar("caller")
"""Set when a call is let in, in its own task, before its message is read."""


class Guard:
    """Lets callers in who may, and calls methods of an API for them.

    A transport calls `admit` first, then reads the message, then calls the method, all in one task.
    """

    def __init__(
        self, api: object, identity: Identity, audit: Audit, clock: Clock, limits: RateLimits
    ) -> None:
        self._api = api
        self._identity = identity
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._refusals = RefusedCalls(audit, clock)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._streams: dict[str, int] = {}

    async def admit(self, method: str, authorization: str) -> None:
        """Let a call in; nothing of its message has to be known.

        Raises:
            Unauthenticated: Its caller is nobody we know.
            QuotaExceeded: He calls too often.
        """
        principal = await self._identity.of(authorization)
        _CALLER.set(_Caller(principal))
        self._charge(method, principal)

    async def refused(self, method: str, error: Exception) -> None:
        """Note a call that ended before its use case began."""
        caller = _CALLER.get(None)
        if method not in MUTATING or (caller is not None and caller.noted):
            return
        actor = UNKNOWN if caller is None else caller.principal.subject
        reason = error.reason if isinstance(error, LinnetError) else "INTERNAL"
        await self._refusals.note(actor, method, "", reason)

    async def close(self) -> None:
        """Write down what was only counted so far."""
        await self._refusals.close()

    async def unary(self, method: str, request: Message) -> Message:
        """Call a method that answers once."""
        principal = _CALLER.get().principal
        await self._check_role(method, principal, request)
        async with self._noted(method, principal, resource_of(request)) as note:
            answer: Message = await getattr(self._api, snake_case(method))(request)
            if not getattr(request, "validate_only", False):
                note.resource = named_in(answer) or note.resource
            return answer

    async def stream(self, method: str, request: Message) -> AsyncIterator[Message]:
        """Call a method that answers with a stream."""
        principal = _CALLER.get().principal
        await self._check_role(method, principal, request)
        with self._open_stream(principal):
            answers = getattr(self._api, snake_case(method))(request)
            async for response in self._while_valid(principal, answers):
                yield response

    async def bidi(self, method: str, requests: AsyncIterator[Any]) -> AsyncIterator[Message]:
        """Call a method with streams both ways; the first message says what it is about."""
        principal = _CALLER.get().principal
        with self._open_stream(principal):
            first = await self._next(method, requests)
            if first is None:
                raise InvalidInput.of("request", "expected at least one message, received none")
            await self._check_role(method, principal, first)
            async with self._noted(method, principal, resource_of(first)) as note:
                rest = self._rest(method, principal, first, requests)
                answers = getattr(self._api, snake_case(method))(rest)
                async for response in self._while_valid(principal, answers):
                    note.resource = named_in(response) or note.resource
                    yield response

    async def _check_role(self, method: str, principal: Principal, request: Any) -> None:
        try:
            check_role(method, principal, request)
        except LinnetError as error:
            if method in MUTATING:
                resource = resource_of(request) if isinstance(error, PermissionDenied) else ""
                await self._refusals.note(principal.subject, method, resource, error.reason)
            raise

    async def _while_valid(
        self, principal: Principal, answers: AsyncIterator[Message]
    ) -> AsyncIterator[Message]:
        """Give the answers of a stream until its caller's token expires."""
        while True:
            left_s = None
            if math.isfinite(principal.expires_at_s):
                left_s = max(principal.expires_at_s - self._clock.now().timestamp(), 0.0)
            try:
                async with asyncio.timeout(left_s) as ending:
                    answer = await anext(answers, None)
            except TimeoutError:
                if not ending.expired():
                    raise
                raise Unauthenticated(
                    "the token expired while the stream was open; open it again with a new one",
                    reason="EXPIRED_TOKEN",
                ) from None
            if answer is None:
                return
            yield answer

    async def _rest(
        self, method: str, principal: Principal, first: Any, requests: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        request = first
        while request is not None:
            yield request
            request = await self._next(method, requests)
            # Each message is work as a call is: a stream without end is no way around the rate.
            self._charge(method, principal)

    async def _next(self, method: str, requests: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                return await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{method}: expected a message within {self._limits.idle_s:g} s",
                reason="STREAM_IDLE",
                metadata={"method": method},
            ) from None

    @contextmanager
    def _open_stream(self, principal: Principal) -> Iterator[None]:
        subject = principal.subject
        count = self._streams.get(subject, 0)
        if count >= self._limits.streams:
            raise QuotaExceeded(
                f"expected at most {self._limits.streams} open streams", reason="TOO_MANY_STREAMS"
            )
        self._streams[subject] = count + 1
        try:
            yield
        finally:
            self._streams[subject] -= 1
            if not self._streams[subject]:
                del self._streams[subject]

    @asynccontextmanager
    async def _noted(
        self, method: str, principal: Principal, resource: str
    ) -> AsyncIterator["_Note"]:
        """Write down that a mutating call begins, and how it ends, also if its caller has gone.

        What is done is committed between the two: a gateway that is killed leaves the first.
        """
        note = _Note(resource)
        if method not in MUTATING:
            yield note
            return
        call = new_uid()
        await self._audit.write(principal.subject, method, resource, f"{BEGUN} {call}")
        _CALLER.get().noted = True
        decision = "INTERRUPTED"
        try:
            yield note
            decision = "OK"
        except LinnetError as error:
            decision = error.reason
            raise
        except Exception:
            decision = "INTERNAL"
            raise
        finally:
            end = self._audit.write(principal.subject, method, note.resource, f"{decision} {call}")
            await asyncio.shield(asyncio.ensure_future(end))

    def _charge(self, method: str, principal: Principal) -> None:
        now = self._clock.monotonic()
        bucket = self._buckets.get(principal.subject)
        if bucket is None:
            bucket = self._buckets[principal.subject] = _Bucket(self._limits.burst, now)
            if len(self._buckets) > _MAX_CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(principal.subject)
        added = (now - bucket.filled_at) * self._limits.per_s
        bucket.tokens = min(self._limits.burst, bucket.tokens + added)
        bucket.filled_at = now
        if bucket.tokens < 1:
            raise QuotaExceeded(
                f"{method}: more than {self._limits.per_s:.0f} calls a second",
                reason="RATE_LIMITED",
                metadata={"method": method},
            )
        bucket.tokens -= 1
