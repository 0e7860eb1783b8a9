"""Leadership among replicas by a row: whoever holds it reconciles.

It saves double work and promises nothing: what may happen once only is guarded by transactions.
"""

from contextlib import suppress
from datetime import timedelta

from linnet_runtime.clock import Clock
from linnet_runtime.errors import LinnetError
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection, delete, insert, select, update

from linnet_gateway.sql import schema
from linnet_gateway.sql.codec import to_us
from linnet_gateway.sql.database import Database

_NAME = "reconciler"


class SqlLease:
    """One replica's hold on the row."""

    def __init__(
        self,
        database: Database,
        holder: str,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        duration: timedelta = timedelta(seconds=15),
        retry_s: float = 2.0,
    ) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock
        self._duration = duration
        self._retry_s = retry_s
        self._until = float("-inf")
        self._leader = Gauge(
            "linnet_leader", "1 on the replica that reconciles.", registry=registry
        )

    @property
    def leading(self) -> bool:
        """Whether this replica leads now."""
        return self._clock.monotonic() < self._until

    async def run(self) -> None:
        """Seek and keep leadership until cancelled, then step down."""
        try:
            while True:
                with suppress(LinnetError):
                    await self.seek()
                await self._clock.sleep(self._retry_s)
        finally:
            await self._release()

    async def seek(self) -> None:
        """Try once to get or keep the row."""
        asked = self._clock.monotonic()
        if await self._database.write(self._take):
            # Stops leading before anybody else may begin, by a third of the time.
            self._until = asked + self._duration.total_seconds() * 2 / 3
        else:
            self._until = float("-inf")
        self._leader.set(1 if self.leading else 0)

    def _take(self, connection: Connection) -> bool:
        now = self._clock.now()
        leases = schema.leases
        row = connection.execute(select(leases).where(leases.c.name == _NAME)).first()
        values = {"holder": self._holder, "expire_time": to_us(now + self._duration)}
        if row is None:
            connection.execute(insert(leases).values(name=_NAME, **values))
            return True
        if row.holder != self._holder and row.expire_time > to_us(now):
            return False
        connection.execute(update(leases).where(leases.c.name == _NAME).values(**values))
        return True

    async def _release(self) -> None:
        self._until = float("-inf")
        mine = (schema.leases.c.name == _NAME) & (schema.leases.c.holder == self._holder)
        with suppress(LinnetError):
            await self._database.write(lambda c: c.execute(delete(schema.leases).where(mine)))
