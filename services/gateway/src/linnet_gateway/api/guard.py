"""What every public call passes, whatever the transport: identity, rate, role, audit."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message
from linnet_runtime.clock import Clock
from linnet_runtime.errors import DeadlineExceeded, InvalidInput, LinnetError, QuotaExceeded

from linnet_gateway.api.access import MUTATING, Principal, check_role, named_in, resource_of
from linnet_gateway.api.identity import Identity
from linnet_gateway.api.method_names import snake_case

_MAX_CALLERS = 10_000


class Audit(Protocol):
    """Where mutating calls are written to, in order, for ever."""

    def write(
        self, actor: str, method: str, resource: str, decision: str
    ) -> Coroutine[Any, Any, None]:
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
        async with self._noted(method, principal, resource_of(request)) as note:
            check_role(method, principal, request)
            answer: Message = await getattr(self._api, snake_case(method))(request)
            if not getattr(request, "validate_only", False):
                note.resource = named_in(answer) or note.resource
            return answer

    async def stream(
        self, method: str, authorization: str, request: Message
    ) -> AsyncIterator[Message]:
        """Call a method that answers with a stream."""
        principal = await self._admit(method, authorization)
        check_role(method, principal, request)
        with self._open_stream(principal):
            async for response in getattr(self._api, snake_case(method))(request):
                yield response

    async def bidi(
        self, method: str, authorization: str, requests: AsyncIterator[Any]
    ) -> AsyncIterator[Message]:
        """Call a method with streams both ways; the first message says what it is about."""
        principal = await self._admit(method, authorization)
        with self._open_stream(principal):
            first = await self._next(method, requests)
            if first is None:
                raise InvalidInput.of("request", "expected at least one message, received none")
            async with self._noted(method, principal, resource_of(first)) as note:
                check_role(method, principal, first)
                rest = self._rest(method, principal, first, requests)
                async for response in getattr(self._api, snake_case(method))(rest):
                    note.resource = named_in(response) or note.resource
                    yield response

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
        """Write down how a mutating call ends, also one that its caller has given up."""
        note = _Note(resource)
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
            if method in MUTATING:
                written = self._audit.write(principal.subject, method, note.resource, decision)
                await asyncio.shield(asyncio.ensure_future(written))

    async def _admit(self, method: str, authorization: str) -> Principal:
        principal = await self._identity.of(authorization)
        self._charge(method, principal)
        return principal

    def _charge(self, method: str, principal: Principal) -> None:
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
