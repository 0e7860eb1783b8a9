"""Refused calls in the audit log: each kind at once, floods of one kind as a number."""

import asyncio
from dataclasses import dataclass

from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError

from linnet_gateway.api.audit import Audit

_GATHER_S = 60.0
_MAX_KINDS = 1000
"""Kinds that are told apart in a minute; whoever makes up more does not fill the disk."""
UNKNOWN = "unknown"
"""The actor of a call whose caller is nobody we know."""


@dataclass(frozen=True, slots=True)
class _Kind:
    actor: str
    method: str
    reason: str


class RefusedCalls:
    """Writes the first call of a kind down at once, and a minute later how many more there were."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._more: dict[_Kind, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = logs.get("linnet.audit")

    async def note(self, actor: str, method: str, resource: str, reason: str) -> None:
        """Note a call that was refused before anything was done for it."""
        kind = _Kind(actor, method, reason)
        if kind not in self._more and len(self._more) >= _MAX_KINDS:
            kind, resource = _Kind(UNKNOWN, "any", "REFUSED"), ""
        if kind in self._more:
            self._more[kind] += 1
            return
        self._more[kind] = 0
        task = asyncio.create_task(self._tell_later(kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._write(kind, resource, reason)

    async def close(self) -> None:
        """Write what was counted."""
        for task in list(self._tasks):
            task.cancel()
        for kind in list(self._more):
            await self._tell(kind)

    async def _tell_later(self, kind: _Kind) -> None:
        await self._clock.sleep(_GATHER_S)
        await self._tell(kind)

    async def _tell(self, kind: _Kind) -> None:
        count = self._more.pop(kind, 0)
        if count:
            await self._write(kind, "", f"{kind.reason} x{count}")

    async def _write(self, kind: _Kind, resource: str, decision: str) -> None:
        try:
            await self._audit.write(kind.actor, kind.method, resource, decision)
        except LinnetError as error:
            # The refusal is answered in any case: what it refuses was not done.
            self._log.error("audit_entry_lost", method=kind.method, error=error.message)
