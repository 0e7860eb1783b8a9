"""Leadership among gateway replicas by a Kubernetes Lease.

A Lease can't promise that there is never a second leader; it saves double work. That nothing is
done twice rests on Job names and guarded transactions.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError
from prometheus_client import CollectorRegistry, Gauge

from linnet_gateway.kubernetes.answers import ApiError
from linnet_gateway.kubernetes.client import Api
from linnet_gateway.kubernetes.settings import KubernetesSettings

Object = Mapping[str, Any]

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The usual 15, 10 and 2 seconds of Kubernetes' own controllers.

    Attributes:
        duration_s: Others may take the lease when it was not renewed for so long.
        renew_limit_s: A leader that could not renew for so long stops leading; less than
            `duration_s`, so that it stops before anyone else begins.
        retry_s: Between two tries.
    """

    duration_s: float = 15.0
    renew_limit_s: float = 10.0
    retry_s: float = 2.0


class KubernetesLease:
    """One replica's hold on the lease."""

    def __init__(
        self,
        api: Api,
        settings: KubernetesSettings,
        identity: str,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        times: LeaseTimes = LeaseTimes(),
    ) -> None:
        self._api = api
        self._name = settings.lease_name
        namespace = settings.lease_namespace or settings.namespace
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._identity = identity
        self._clock = clock
        self._times = times
        self._renewed_at: float | None = None
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        self._won = asyncio.Event()
        self._leader = Gauge(
            "linnet_leader", "1 on the replica that reconciles.", registry=registry
        )
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

    @property
    def leading(self) -> bool:
        """Whether this replica leads now."""
        return self._left_s() > 0

    async def until_leading(self) -> None:
        """Wait until this replica leads."""
        while not self.leading:
            self._won.clear()
            await self._won.wait()

    async def until_lost(self) -> None:
        """Wait until this replica leads no more."""
        while (left_s := self._left_s()) > 0:
            await self._clock.sleep(left_s)

    async def run(self) -> None:
        """Seek and keep leadership until cancelled."""
        while True:
            try:
                # A call that hangs must not outlast what is left of the leadership.
                async with asyncio.timeout(self._times.renew_limit_s / 2):
                    await self._try()
            except (LinnetError, TimeoutError) as error:
                self._log.warning("lease_not_renewed", error=str(error))
            self._leader.set(1 if self.leading else 0)
            await self._clock.sleep(self._times.retry_s)

    async def release(self) -> None:
        """Let another replica lead at once, if this one does."""
        if not self.leading:
            return
        self._renewed_at = None
        self._leader.set(0)
        with suppress(LinnetError, TimeoutError):
            async with asyncio.timeout(self._times.retry_s):
                lease = await self._api.get(f"{self._path}/{self._name}")
                if lease["spec"].get("holderIdentity") == self._identity:
                    lease["spec"]["holderIdentity"] = ""
                    await self._replace(lease)

    def _left_s(self) -> float:
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._times.renew_limit_s - self._clock.monotonic()

    async def _try(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            lease = await self._api.get(f"{self._path}/{self._name}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            await self._api.create(self._path, self._new())
            self._hold(asked_at)
            return
        spec = dict(lease.get("spec") or {})
        holder = str(spec.get("holderIdentity") or "")
        seen = (holder, str(spec.get("renewTime")))
        if seen != self._seen:
            self._seen, self._seen_at = seen, asked_at
        limit_s = float(spec.get("leaseDurationSeconds") or self._times.duration_s)
        if holder not in {"", self._identity} and asked_at - self._seen_at < limit_s:
            # Another's, and alive by our own clock, whatever its clock says.
            self._renewed_at = None
            return
        now = _micro_time(self._clock.now())
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration_s)),
            "renewTime": now,
        }
        if holder != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        # Refused with 409 if somebody else changed it since it was read.
        await self._replace(dict(lease) | {"spec": spec})
        self._hold(asked_at)

    async def _replace(self, lease: Object) -> None:
        await self._api.call("PUT", f"{self._path}/{self._name}", body=lease)

    def _hold(self, since: float) -> None:
        if self._renewed_at is None:
            self._log.info("leading", identity=self._identity)
        self._renewed_at = since
        self._won.set()

    def _new(self) -> Object:
        now = _micro_time(self._clock.now())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._times.duration_s)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }


@asynccontextmanager
async def held_lease(lease: KubernetesLease) -> AsyncIterator[KubernetesLease]:
    """Take part in the election as long as the context lasts; step down at its end."""
    running = asyncio.create_task(lease.run(), name="kubernetes-lease")
    try:
        yield lease
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await lease.release()


def _micro_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
