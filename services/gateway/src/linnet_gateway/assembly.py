"""The parts of a gateway, put together from its settings."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self

from linnet.v1 import runner_service_pb2_grpc
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.metrics_http import MetricsPage, new_registry
from linnet_runtime.rpc.admission import with_token
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import Drain, Server
from linnet_runtime.s3 import S3Store
from linnet_runtime.store_metrics import StoreMetrics

from linnet_gateway.api.credentials import identity_of, server_credentials
from linnet_gateway.api.guard import Guard
from linnet_gateway.api.pagination import Pager
from linnet_gateway.api.serving import reachable, serve_public
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.core import Core, keeping_limits, rate_limits, reconciler_limits, training_api
from linnet_gateway.launches.last_lines import LastLines
from linnet_gateway.launches.launcher import Launcher
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
from linnet_gateway.metrics import DatabaseMetrics, RunMetrics
from linnet_gateway.reconciling.analysis import Analysis, AnalysisLimits
from linnet_gateway.reconciling.analysis_clients import (
    EvaluatorClient,
    ProfilerClient,
    credentials_from,
    open_channel,
)
from linnet_gateway.reconciling.deadlines import Deadlines
from linnet_gateway.reconciling.housekeeping import Housekeeping
from linnet_gateway.reconciling.reconciler import Reconciler
from linnet_gateway.records import Event, EventKind
from linnet_gateway.run_meter import RunMeter
from linnet_gateway.settings import GatewaySettings
from linnet_gateway.specs.ceilings import Ceilings, OneCeiling
from linnet_gateway.sql import migrate, schema_version
from linnet_gateway.sql.lease import SqlLease
from linnet_gateway.sql.store import Records
from linnet_gateway.startup import reached
from linnet_gateway.tail import EventTail
from linnet_gateway.targets import Targets
from linnet_gateway.trainers.admission import TrainerAdmission
from linnet_gateway.trainers.ingest import Ingest
from linnet_gateway.trainers.runner import Runner
from linnet_gateway.trainers.runner_servicer import RunnerServicer
from linnet_gateway.trainers.tokens import Tokens
from linnet_gateway.uids import new_uid

_TOKEN_KEY = "tokens"  # noqa: S105 - the name of a key, not the key
_EVENT_IDLE_S = 1.0
_TOLD_EVENT_IDLE_S = 5.0
_UNTOLD_EVENT_IDLE_S = 0.2

Leads = Callable[[], bool]


class Gateway:
    """A running gateway; use it as an async context manager."""

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.registry = new_registry()
        self._store_metrics = StoreMetrics(self.registry)
        self.endpoints: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self._log = logs.get("linnet.gateway")
        self._ceilings: Ceilings = OneCeiling()
        self._identity = f"{socket.gethostname()}-{new_uid()}"

    async def __aenter__(self) -> Self:
        """Start every part; when this returns, the gateway serves."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop every part, in the opposite order."""
        await self._stack.aclose()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)

        async def stop() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(stop)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._log.critical("part_died", part=str(task.get_coro()), exc_info=task.exception())

    async def _start(self) -> None:
        core = await self._core()
        rpc = RpcMetrics(self.registry)
        runner_server = Server(
            ["linnet.v1.RunnerService"], rpc, admission=TrainerAdmission(core.tokens, self.clock)
        )
        host = self.settings.runner_host or self.settings.host
        credentials = server_credentials(self.settings, clients=False)
        runner_port = runner_server.listen(f"{host}:{self.settings.runner_port}", credentials)
        runner_address = f"{reachable(host)}:{runner_port}"
        launcher, leads = await self._launcher(core, runner_address)
        limits = reconciler_limits(self.settings, core.retries)
        last_lines = LastLines(core.records.events, core.store)
        launching = Launching(
            runs=core.records.runs,
            launches=core.records.launches,
            launcher=launcher,
            tokens=core.tokens,
            clock=self.clock,
            limits=limits,
            last_lines=last_lines,
        )
        deadlines = Deadlines(
            runs=core.records.runs,
            work=core.records.work,
            launches=core.records.launches,
            launching=launching,
            last_lines=last_lines,
            clock=self.clock,
        )
        reconciler = self._reconciler(core, launcher, launching, deadlines, limits)
        await self._serve_runner(core, launching, runner_server)
        meter = RunMeter(
            core.records.runs, core.records.work, core.tail, RunMetrics(self.registry), self.clock
        )
        self._background(core.tail.run())
        self._background(meter.run(leads))
        self._background(reconciler.run(leads))
        self._background(self._housekeeping(core).run(leads))
        self.endpoints = {"runner": runner_address} | await self._serve_public(
            core, rpc, runner_server
        )
        self._tell_endpoints()
        self._log.info("serving", **self.endpoints)

    async def _core(self) -> Core:
        settings = self.settings
        # A file that can't be used is told before anything is waited for.
        trusted = credentials_from(settings.service_ca_file)
        if settings.migrates:
            await asyncio.to_thread(migrate.upgrade, settings.database_url)
        else:
            ask = partial(schema_version.require, settings.database_url)
            await reached("migrated database", ask, self.clock)
        records = Records(settings.database_url, self.clock.now, DatabaseMetrics(self.registry))
        self._stack.callback(records.close)
        store = S3Store(settings.store, self._store_metrics)
        await reached("object store", store.create_bucket, self.clock)
        tail = self._tail(records)
        evaluator = open_channel(settings.evaluator_address, trusted)
        profiler = open_channel(settings.profiler_address, trusted)
        self._stack.push_async_callback(evaluator.close)
        self._stack.push_async_callback(profiler.close)
        shown = with_token(settings.service_token)
        profiler_client = ProfilerClient(profiler, shown)
        return Core(
            records=records,
            store=store,
            tail=tail,
            profiler=profiler_client,
            evaluator=EvaluatorClient(evaluator, shown),
            targets=Targets(profiler_client, self.clock),
            retries=RetryLimits(lost_attempts=settings.lost_attempts),
            tokens=Tokens(await records.secrets.key(_TOKEN_KEY)),
            pager=Pager(await records.secrets.key("pages")),
        )

    def _tail(self, records: Records) -> EventTail:
        if records.single:
            tail = EventTail(records.events, idle_s=lambda: _EVENT_IDLE_S)
        else:
            # Loaded only here: SQLite needs no driver.
            from linnet_gateway.sql.notices import EventNotices

            notices = EventNotices(self.settings.database_url)
            tail = EventTail(
                records.events,
                idle_s=lambda: _TOLD_EVENT_IDLE_S if notices.listening else _UNTOLD_EVENT_IDLE_S,
            )
            self._background(notices.run(tail.wake))
        records.on_commit(tail.wake)
        return tail

    async def _launcher(self, core: Core, runner_address: str) -> tuple[Launcher, Leads]:
        settings = self.settings
        if settings.launcher == "kubernetes":
            # Loaded only here: a local gateway stays small.
            from linnet_gateway.kubernetes.cluster import open_cluster
            from linnet_gateway.kubernetes.settings import KubernetesSettings

            cluster = await self._stack.enter_async_context(
                open_cluster(KubernetesSettings.read(), self._identity, self.registry, self.clock)
            )
            self._ceilings = cluster.ceilings
            return cluster.launcher, lambda: cluster.lease.leading
        from linnet_gateway.process.launcher import ProcessLauncher, ProcessSettings

        assert settings.process_folder is not None
        process = ProcessLauncher(
            ProcessSettings(
                folder=settings.process_folder.absolute(),
                command=settings.trainer_command,
                gateway=runner_address,
                gateway_ca_file=settings.tls_certificate_file,
            ),
            self.clock,
        )
        self._background(process.run())
        # Named for the folder: a gateway that was killed leads again as soon as it is started.
        holder = f"{socket.gethostname()}:{settings.process_folder.absolute()}"
        lease = SqlLease(core.records.database, holder, self.clock, self.registry)
        await lease.seek()
        self._background(lease.run())
        return process, lambda: lease.leading

    def _reconciler(
        self,
        core: Core,
        launcher: Launcher,
        launching: Launching,
        deadlines: Deadlines,
        limits: ReconcilerLimits,
    ) -> Reconciler:
        settings, records = self.settings, core.records
        analysis = Analysis(
            runs=records.runs,
            datasets=records.datasets,
            evaluator=core.evaluator,
            profiler=core.profiler,
            clock=self.clock,
            limits=AnalysisLimits(
                at_once=settings.analysis_at_once,
                call_timeout_s=settings.analysis_call_s,
                total_s=settings.analysis_total_s,
            ),
        )
        reconciler = Reconciler(
            runs=records.runs,
            work=records.work,
            launches=records.launches,
            batches=records.batches,
            launcher=launcher,
            launching=launching,
            analysis=analysis,
            deadlines=deadlines,
            clock=self.clock,
            limits=limits,
        )
        core.tail.listen(partial(_wake, reconciler))
        return reconciler

    async def _serve_runner(self, core: Core, launching: Launching, server: Server) -> None:
        records = core.records
        runner = Runner(
            runs=records.runs,
            datasets=records.datasets,
            trainings=records.trainings,
            launches=records.launches,
            store=self._store_for_trainers(),
            tokens=core.tokens,
            clock=self.clock,
            limits=core.retries,
            crash_of=launching.crash_of,
        )
        servicer = RunnerServicer(runner, Ingest(records.trainings, self.clock), core.tail)
        runner_service_pb2_grpc.add_RunnerServiceServicer_to_server(servicer, server.grpc_server)
        await server.start()
        self._stack.push_async_callback(server.stop, self.clock, Drain(grace_s=1.0))

    def _store_for_trainers(self) -> S3Store:
        # Trainers are where the gateway is: clients' address may lead nowhere from there.
        return S3Store(replace(self.settings.store, public_endpoint=""), self._store_metrics)

    def _housekeeping(self, core: Core) -> Housekeeping:
        return Housekeeping(
            keeping=core.records.keeping,
            events=core.records.events,
            runs=core.records.runs,
            store=core.store,
            clock=self.clock,
            limits=keeping_limits(self.settings),
        )

    async def _serve_public(
        self, core: Core, rpc: RpcMetrics, runner_server: Server
    ) -> dict[str, str]:
        settings = self.settings
        identity = identity_of(settings)
        guard = Guard(
            training_api(core, settings, self._ceilings, self.clock),
            identity,
            core.records.audit,
            self.clock,
            rate_limits(settings),
        )
        self._stack.push_async_callback(guard.close)
        server = Server(["linnet.v1.TrainingService"], rpc, admission=guard)
        page = MetricsPage(
            self.registry,
            settings.host,
            settings.metrics_port,
            serving=lambda: server.serving and runner_server.serving,
        )
        self._stack.callback(page.close)
        served = await serve_public(self._stack, server, guard, settings, rpc=rpc, clock=self.clock)
        return served | {"metrics": f"{reachable(settings.host)}:{page.port}"}

    def _tell_endpoints(self) -> None:
        path = self.settings.endpoint_file
        if path is not None:
            new = path.with_name(f"{path.name}.new")
            new.write_text(json.dumps(self.endpoints))
            new.replace(path)


def _wake(reconciler: Reconciler, event: Event) -> None:
    # Output alone moves no run on.
    if event.kind is not EventKind.LOG:
        reconciler.wake()
