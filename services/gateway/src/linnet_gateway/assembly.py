"""The parts of a gateway, put together from its settings."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

from linnet.v1 import runner_service_pb2_grpc, training_service_pb2_grpc
from linnet_runtime import logs
from linnet_runtime.clock import Clock
from linnet_runtime.metrics_http import MetricsPage, new_registry
from linnet_runtime.rpc.interceptors import RpcMetrics
from linnet_runtime.rpc.server import Drain, Server
from linnet_runtime.s3 import S3Store

from linnet_gateway.analysis import Analysis, AnalysisLimits
from linnet_gateway.analysis_clients import EvaluatorClient, ProfilerClient, open_channel
from linnet_gateway.auth import AuthInterceptor, StaticToken
from linnet_gateway.dataset_files import DatasetFiles
from linnet_gateway.datasets import DatasetRequests
from linnet_gateway.fairness import ShardLimits
from linnet_gateway.ingest import Ingest
from linnet_gateway.launcher import Launcher
from linnet_gateway.metrics import DatabaseMetrics, RunMetrics
from linnet_gateway.reconciler import Reconciler, ReconcilerLimits
from linnet_gateway.reports import Reports
from linnet_gateway.run_meter import RunMeter
from linnet_gateway.runner import Runner
from linnet_gateway.runner_servicer import RunnerServicer
from linnet_gateway.runs import RunRequests
from linnet_gateway.settings import GatewaySettings
from linnet_gateway.spec_resolution import ResourceLimits, SpecResolution
from linnet_gateway.sql import migrate
from linnet_gateway.sql.batches import SqlBatches
from linnet_gateway.sql.database import Database
from linnet_gateway.sql.datasets import SqlDatasets
from linnet_gateway.sql.events import SqlEvents
from linnet_gateway.sql.launches import SqlLaunches
from linnet_gateway.sql.runs import SqlRuns, SqlWork
from linnet_gateway.sql.secrets import SqlSecrets
from linnet_gateway.sql.trainings import SqlTrainings
from linnet_gateway.tail import EventTail
from linnet_gateway.targets import Targets
from linnet_gateway.tokens import Tokens
from linnet_gateway.training_api import TrainingApi
from linnet_gateway.training_servicer import training_servicer
from linnet_gateway.transitions import RetryLimits
from linnet_gateway.watching import Watching

_TOKEN_KEY = "tokens"  # noqa: S105 - the name of a key, not the key
_EVENT_IDLE_S = 1.0
_SHARED_EVENT_IDLE_S = 0.2


class Gateway:
    """A running gateway; use it as an async context manager."""

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.registry = new_registry()
        self._stack = AsyncExitStack()
        self._log = logs.get("linnet.gateway")
        self.endpoints: dict[str, str] = {}

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

        async def stop() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self._stack.push_async_callback(stop)

    async def _start(self) -> None:
        settings, clock = self.settings, self.clock
        await asyncio.to_thread(migrate.upgrade, settings.database_url)
        database = Database(settings.database_url, DatabaseMetrics(self.registry))
        self._stack.callback(database.close)
        store = S3Store(settings.store)
        await asyncio.to_thread(store.create_bucket)
        datasets, runs = SqlDatasets(database), SqlRuns(database, clock.now)
        trainings, launches = SqlTrainings(database, clock.now), SqlLaunches(database, clock.now)
        work, batches, events = (
            SqlWork(database),
            SqlBatches(database, clock.now),
            SqlEvents(database),
        )
        tokens = Tokens(await SqlSecrets(database).key(_TOKEN_KEY))
        tail = EventTail(
            events, idle_s=_EVENT_IDLE_S if database.is_sqlite else _SHARED_EVENT_IDLE_S
        )
        database.on_commit(tail.wake)
        evaluator_channel = open_channel(settings.evaluator_address)
        profiler_channel = open_channel(settings.profiler_address)
        self._stack.push_async_callback(evaluator_channel.close)
        self._stack.push_async_callback(profiler_channel.close)
        profiler = ProfilerClient(profiler_channel)
        targets = Targets(profiler, clock)
        files = DatasetFiles(store)
        specs = SpecResolution(datasets, runs, targets, files, self._resource_limits())
        retries = RetryLimits(lost_attempts=settings.lost_attempts)
        analysis = Analysis(
            runs=runs,
            datasets=datasets,
            evaluator=EvaluatorClient(evaluator_channel),
            profiler=profiler,
            clock=clock,
            limits=AnalysisLimits(
                at_once=settings.analysis_at_once,
                call_timeout_s=settings.analysis_call_s,
                total_s=settings.analysis_total_s,
            ),
        )
        rpc_metrics = RpcMetrics(self.registry)
        crashes = _LateCrashes()
        runner = Runner(
            runs=runs,
            datasets=datasets,
            trainings=trainings,
            launches=launches,
            store=store,
            tokens=tokens,
            clock=clock,
            limits=retries,
            crash_of=crashes,
        )
        ingest = Ingest(trainings, clock)
        runner_server = Server(["linnet.v1.RunnerService"], rpc_metrics)
        runner_service_pb2_grpc.add_RunnerServiceServicer_to_server(
            RunnerServicer(runner, ingest, tail), runner_server.grpc_server
        )
        runner_port = runner_server.listen(f"{settings.runner_host}:{settings.runner_port}")
        launcher = self._launcher(f"{_reachable(settings.runner_host)}:{runner_port}")
        reconciler = Reconciler(
            runs=runs,
            work=work,
            launches=launches,
            batches=batches,
            launcher=launcher,
            analysis=analysis,
            tokens=tokens,
            clock=clock,
            limits=self._reconciler_limits(retries),
        )
        crashes.reconciler = reconciler
        tail.listen(lambda _: reconciler.wake())
        api = TrainingApi(
            datasets=DatasetRequests(datasets, files, store, clock),
            runs=RunRequests(runs, specs, clock),
            watching=Watching(runs, trainings, events, store, tail),
            reports=Reports(
                runs=runs,
                trainings=trainings,
                store=store,
                profiler=profiler,
                targets=targets,
                clock=clock,
            ),
            specs=specs,
            targets=targets,
            clock=clock,
        )
        token = settings.api_token.get_secret_value() if settings.api_token else None
        auth = AuthInterceptor(StaticToken(token))
        public = Server(["linnet.v1.TrainingService"], rpc_metrics, interceptors=[auth])
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server(
            training_servicer(api), public.grpc_server
        )
        port = public.listen(f"{settings.host}:{settings.port}")
        meter = RunMeter(runs, work, tail, RunMetrics(self.registry), clock)
        page = MetricsPage(self.registry, settings.host, settings.metrics_port)
        self._stack.callback(page.close)
        self._background(tail.run())
        self._background(meter.run(lambda: True))
        await runner_server.start()
        self._stack.push_async_callback(runner_server.stop, clock, Drain(grace_s=1.0))
        self._background(reconciler.run(lambda: True))
        await public.start()
        drain = Drain(settings.drain_pause_s, settings.drain_grace_s)
        self._stack.push_async_callback(public.stop, clock, drain)
        host = _reachable(settings.host)
        self.endpoints = {
            "address": f"{host}:{port}",
            "runner": f"{_reachable(settings.runner_host)}:{runner_port}",
            "metrics": f"{host}:{page.port}",
        }
        self._tell_endpoints()
        self._log.info("serving", **self.endpoints)

    def _launcher(self, runner_address: str) -> Launcher:
        settings = self.settings
        if settings.launcher == "kubernetes":
            raise NotImplementedError
        from linnet_gateway.process.launcher import ProcessLauncher, ProcessSettings

        assert settings.process_folder is not None
        launcher = ProcessLauncher(
            ProcessSettings(
                folder=settings.process_folder.absolute(),
                command=settings.trainer_command,
                gateway=runner_address,
            ),
            self.clock,
        )
        self._background(launcher.run())
        return launcher

    def _resource_limits(self) -> ResourceLimits:
        settings = self.settings
        return ResourceLimits(
            default_cpu_millis=settings.default_cpu_millis,
            max_cpu_millis=settings.max_cpu_millis,
            default_memory_bytes=settings.default_memory_bytes,
            max_memory_bytes=settings.max_memory_bytes,
            max_deadline=settings.max_deadline,
            expert_allowed=settings.expert_allowed,
        )

    def _reconciler_limits(self, retries: RetryLimits) -> ReconcilerLimits:
        from datetime import timedelta

        settings = self.settings
        local = settings.launcher == "process"
        return ReconcilerLimits(
            heartbeat=timedelta(seconds=settings.heartbeat_s),
            cancel_grace=timedelta(seconds=settings.cancel_grace_s),
            batch_parallelism=settings.batch_parallelism,
            shards=ShardLimits(
                total=settings.process_shards if local else settings.max_shards,
                per_project=settings.max_shards_per_project,
            ),
            retries=retries,
        )

    def _tell_endpoints(self) -> None:
        path = self.settings.endpoint_file
        if path is not None:
            new = path.with_name(f"{path.name}.new")
            new.write_text(json.dumps(self.endpoints))
            new.replace(path)


class _LateCrashes:
    """Asks the reconciler, which is made after those who ask."""

    def __init__(self) -> None:
        self.reconciler: Reconciler | None = None

    def __call__(self, launch_uid: str, shard: int) -> Any:
        return None if self.reconciler is None else self.reconciler.crash_of(launch_uid, shard)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound
