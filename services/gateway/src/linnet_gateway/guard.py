"""What every public call passes, whatever the transport: identity, rate, role, audit."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message
from linnet_runtime.clock import Clock
from linnet_runtime.errors import InvalidInput, LinnetError, QuotaExceeded

from linnet_gateway.access import MUTATING, Principal, check_role, resource_of
from linnet_gateway.identity import Identity
from linnet_gateway.method_names import snake_case

_MAX_CALLERS = 10_000


class Audit(Protocol):
    """Where mutating calls are written to, in order, for ever."""

    async def write(self, actor: str, method: str, resource: str, decision: str) -> None:
        """Append one entry."""
        ...


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
    """

    per_s: float = 500.0
    burst: float = 2000.0
    streams: int = 2000


class Guard:
    """Calls methods of an API for callers who may."""

    def __init__(
        self, api: object, identity: Identity, audit: Audit, clock: Clock, limits: RateLimits
    ) -> None:
        self._api = api
        self._identity = identity
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._streams: dict[str, int] = {}

    async def unary(self, method: str, authorization: str, request: Message) -> Message:
        """Call a method that answers once."""
        principal = await self._admit(method, authorization)
        resource = resource_of(request)
        try:
            check_role(method, principal, request)
            answer: Message = await getattr(self._api, snake_case(method))(request)
        except LinnetError as error:
            await self._note(method, principal, resource, error.reason)
            raise
        await self._note(method, principal, str(getattr(answer, "name", "") or resource), "OK")
        return answer

    async def stream(
        self, method: str, authorization: str, request: Message
    ) -> AsyncIterator[Message]:
        """Call a method that answers with a stream."""
        principal = await self._admit(method, authorization)
        check_role(method, principal, request)
        self._open_stream(principal)
        try:
            async for response in getattr(self._api, snake_case(method))(request):
                yield response
        finally:
            self._streams[principal.subject] -= 1

    async def bidi(
        self, method: str, authorization: str, requests: AsyncIterator[Any]
    ) -> AsyncIterator[Message]:
        """Call a method with streams both ways; the first message says what it is about."""
        principal = await self._admit(method, authorization)
        first = await anext(requests, None)
        if first is None:
            raise InvalidInput.of("request", "expected at least one message, received none")
        resource = resource_of(first)
        decision = "OK"
        self._open_stream(principal)
        try:
            check_role(method, principal, first)
            async for response in getattr(self._api, snake_case(method))(_rest(first, requests)):
                yield response
        except LinnetError as error:
            decision = error.reason
            raise
        finally:
            self._streams[principal.subject] -= 1
            await self._note(method, principal, resource, decision)

    def _open_stream(self, principal: Principal) -> None:
        count = self._streams.get(principal.subject, 0)
        if count >= self._limits.streams:
            raise QuotaExceeded(
                f"expected at most {self._limits.streams} open streams", reason="TOO_MANY_STREAMS"
            )
        self._streams[principal.subject] = count + 1

    async def _admit(self, method: str, authorization: str) -> Principal:
        principal = await self._identity.of(authorization)
        now = self._clock.monotonic()
        bucket = self._buckets.get(principal.subject)
        if bucket is None:
            bucket = self._buckets[principal.subject] = _Bucket(self._limits.burst, now)
            if len(self._buckets) > _MAX_CALLERS:
                self._buckets.popitem(last=False)
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
        return principal

    async def _note(self, method: str, principal: Principal, resource: str, decision: str) -> None:
        if method in MUTATING:
            await self._audit.write(principal.subject, method, resource, decision)


async def _rest(first: Any, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for request in requests:
        yield request
