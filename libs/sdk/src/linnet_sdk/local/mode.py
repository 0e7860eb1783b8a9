"""Local mode as a whole: holds a home, runs its processes in order, stops them in reverse."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from linnet_sdk.local import children, identity, ports, seaweed, trainers
from linnet_sdk.local.child import USUAL_BACKOFF, Backoff, Child, Event
from linnet_sdk.local.home import Credentials, Home, write_json
from linnet_sdk.server_address import ServerAddress

LEFTOVER_GRACE_S = 20.0
PORT_PATIENCE_S = 3.0
TRAINER_GRACE_S = 15.0
Planner = Callable[[Home, Mapping[str, int], Credentials], children.Plan]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running local mode is.

    Attributes:
        server: The gateway, with its token.
        http: The gateway's Connect and web address.
        metrics: Pages with figures for Prometheus, by process.
        store: The object store.
    """

    server: ServerAddress
    http: str
    metrics: dict[str, str]
    store: str


class LocalMode:
    """Runs the processes of one home; an async context manager.

    The home stays held, and its processes supervised, until the block ends; they are then stopped
    in reverse order.

    Args:
        home: The folder.
        on_event: Told of every start and death of a process.
        backoff: Pauses before a process is started again.
        planner: Says which processes there are.
    """

    def __init__(
        self,
        home: Home,
        *,
        on_event: Callable[[Event], None],
        backoff: Backoff = USUAL_BACKOFF,
        planner: Planner = children.plan,
    ) -> None:
        self.home = home
        self._on_event = on_event
        self._backoff = backoff
        self._planner = planner
        self._children: dict[str, Child] = {}
        self._held = contextlib.ExitStack()
        self.endpoints: Endpoints

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            HomeIsHeld: Another local mode runs on the home.
            StartFailed: A process can't be started.
        """
        self._held.enter_context(self.home.hold())
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def watch(self) -> None:
        """Wait until supervision fails, which it raises."""
        await asyncio.gather(*(child.watch() for child in self._children.values()))

    async def stop(self) -> None:
        """Stop the processes in reverse order, and trainers, and let go of the home."""
        self.home.endpoint.unlink(missing_ok=True)
        await self._stop("gateway")
        # After the gateway, which would only start them again.
        await asyncio.to_thread(trainers.end, self.home.launches, grace_s=TRAINER_GRACE_S)
        await self._stop("evaluator", "profiler")
        await self._stop(*self._children)
        self.home.record_processes([])
        self._held.close()

    def kill(self) -> None:
        """End all processes at once."""
        for child in self._children.values():
            child.kill()

    async def _start(self) -> None:
        await asyncio.to_thread(
            identity.end, self.home.recorded_processes(), grace_s=LEFTOVER_GRACE_S
        )
        kept = self.home.kept_ports()
        await asyncio.to_thread(ports.await_free, kept.values(), patience_s=PORT_PATIENCE_S)
        assigned = ports.assign(children.PORT_NAMES, kept)
        self.home.keep_ports(assigned)
        credentials = self.home.credentials()
        seaweed.prepare(self.home.store, credentials)
        self.home.gateway.mkdir(mode=0o700, exist_ok=True)
        plan = self._planner(self.home, assigned, credentials)
        # Evaluator and profiler use the store only when they are called; the gateway at its start.
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._run_in_turn(plan.store, plan.gateway))
                for spec in plan.analysts:
                    starting.create_task(self._run_in_turn(spec))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        self.endpoints = _endpoints(assigned, credentials)
        self._publish()

    async def _run_in_turn(self, *specs: children.ChildSpec) -> None:
        for spec in specs:
            child = Child(
                spec,
                backoff=self._backoff,
                on_event=self._on_event,
                on_process=self._record,
                inherited=os.environ,
            )
            self._children[spec.name] = child
            await child.start()

    async def _stop(self, *names: str) -> None:
        found = [name for name in names if name in self._children]
        await asyncio.gather(*(self._children[name].stop() for name in found))
        for name in found:
            del self._children[name]

    def _record(self) -> None:
        self.home.record_processes(
            [c.identity for c in self._children.values() if c.identity is not None]
        )

    def _publish(self) -> None:
        write_json(
            self.home.endpoint,
            {
                "address": self.endpoints.server.target,
                "token": self.endpoints.server.token_now(),
                "http": self.endpoints.http,
                "metrics": self.endpoints.metrics,
                "pid": os.getpid(),
            },
        )


def _endpoints(assigned: dict[str, int], credentials: Credentials) -> Endpoints:
    return Endpoints(
        server=ServerAddress(f"{children.HOST}:{assigned['gateway']}", credentials.api_token),
        http=f"http://{children.HOST}:{assigned['gateway_http']}",
        metrics={
            name: f"http://{children.HOST}:{assigned[name + '_metrics']}/metrics"
            for name in ("gateway", "evaluator", "profiler")
        },
        store=children.store_endpoint(assigned),
    )
