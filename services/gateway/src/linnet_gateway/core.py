"""What the parts of a gateway share, and what is made of it and the settings alone."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from linnet_runtime.clock import Clock
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.addresses import Addresses
from linnet_gateway.api.guard import RateLimits
from linnet_gateway.api.pagination import Pager
from linnet_gateway.api.training_api import TrainingApi
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.batches.filling import BatchFilling
from linnet_gateway.batches.results import BatchResults
from linnet_gateway.batches.steering import BatchRequests
from linnet_gateway.datasets.files import DatasetFiles
from linnet_gateway.datasets.lifecycle import DatasetRequests
from linnet_gateway.launches.fairness import ShardLimits
from linnet_gateway.launches.launching import ReconcilerLimits
from linnet_gateway.quotas import Quota, Quotas
from linnet_gateway.reconciling.analysis_clients import EvaluatorClient, ProfilerClient
from linnet_gateway.reconciling.housekeeping import KeepingLimits, RunLife
from linnet_gateway.runs.insights import Insights
from linnet_gateway.runs.lifecycle import RunRequests
from linnet_gateway.runs.reports import Reports
from linnet_gateway.runs.watching import Watching
from linnet_gateway.settings import GatewaySettings
from linnet_gateway.specs.ceilings import Ceilings
from linnet_gateway.specs.preview import SpecPreview
from linnet_gateway.specs.resolution import ResourceLimits, SpecResolution
from linnet_gateway.sql.store import Records
from linnet_gateway.tail import EventTail
from linnet_gateway.targets import Targets
from linnet_gateway.trainers.tokens import Tokens

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Core:
    """What every part of a gateway shares."""

    records: Records
    store: ObjectStore
    tail: EventTail
    profiler: ProfilerClient
    evaluator: EvaluatorClient
    targets: Targets
    retries: RetryLimits
    tokens: Tokens
    pager: Pager


def reconciler_limits(settings: GatewaySettings, retries: RetryLimits) -> ReconcilerLimits:
    """Give the reconciler's limits."""
    local = settings.launcher == "process"
    return ReconcilerLimits(
        heartbeat=timedelta(seconds=settings.heartbeat_s),
        cancel_grace=timedelta(seconds=settings.cancel_grace_s),
        batch_parallelism=settings.batch_parallelism,
        shards=ShardLimits(
            total=settings.process_shards if local else settings.max_shards,
            per_project=settings.max_shards_per_project,
            projects={
                project: own.max_shards
                for project, own in settings.projects.items()
                if own.max_shards is not None
            },
        ),
        retries=retries,
    )


def rate_limits(settings: GatewaySettings) -> RateLimits:
    """Give the limits of one caller."""
    return RateLimits(
        per_s=settings.rate_per_s,
        burst=settings.rate_burst,
        streams=settings.max_streams,
        idle_s=settings.stream_idle_s,
    )


def quotas_of(settings: GatewaySettings) -> Quotas:
    """Give the limits of every project's runs."""
    default = Quota(
        max_runs=settings.max_queued_runs,
        max_spec_bytes=settings.max_queued_spec_bytes,
        max_batch_spec_bytes=settings.max_batch_spec_bytes,
    )
    return Quotas(
        default,
        {
            project: replace(
                default,
                max_runs=_own(own.max_queued_runs, default.max_runs),
                max_spec_bytes=_own(own.max_queued_spec_bytes, default.max_spec_bytes),
            )
            for project, own in settings.projects.items()
        },
    )


def keeping_limits(settings: GatewaySettings) -> KeepingLimits:
    """Give how long things are kept."""
    return KeepingLimits(
        runs=_run_life(
            settings.run_life_days,
            settings.runs_kept,
            settings.log_life_days,
            settings.artifact_life_days,
        ),
        projects={
            project: _run_life(
                _own(own.run_life_days, settings.run_life_days),
                _own(own.runs_kept, settings.runs_kept),
                _own(own.log_life_days, settings.log_life_days),
                _own(own.artifact_life_days, settings.artifact_life_days),
            )
            for project, own in settings.projects.items()
        },
        sweep_delay=timedelta(seconds=settings.sweep_delay_s),
        audit_life=_days(settings.audit_life_days),
    )


def _own(own: N | None, default: N) -> N:
    return default if own is None else own


def _run_life(days: float, kept: int, log_days: float, artifact_days: float) -> RunLife:
    return RunLife(_days(days), kept, _days(log_days), _days(artifact_days))


def _days(days: float) -> timedelta | None:
    return timedelta(days=days) if days else None


def training_api(
    core: Core, settings: GatewaySettings, ceilings: Ceilings, clock: Clock
) -> TrainingApi:
    """Make TrainingService without a transport."""
    records = core.records
    files = DatasetFiles(core.store)
    addresses = Addresses(core.store, clock)
    resources = ResourceLimits(
        default_cpu_millis=settings.default_cpu_millis,
        max_cpu_millis=settings.max_cpu_millis,
        default_memory_bytes=settings.default_memory_bytes,
        max_memory_bytes=settings.max_memory_bytes,
        max_deadline=settings.max_deadline,
        expert_allowed=settings.expert_allowed,
    )
    specs = SpecResolution(
        records.datasets, records.runs, core.targets, files, resources, ceilings=ceilings
    )
    runs = RunRequests(records.runs, specs, clock, quotas_of(settings))
    return TrainingApi(
        datasets=DatasetRequests(records.datasets, files, addresses, clock),
        runs=runs,
        filling=BatchFilling(
            batches=records.batches,
            runs=runs,
            specs=specs,
            clock=clock,
            max_runs=settings.max_batch_runs,
        ),
        batches=BatchRequests(batches=records.batches, runs=runs, tail=core.tail, clock=clock),
        results=BatchResults(records.batches, core.store),
        watching=Watching(records.runs, records.trainings, records.events, core.store, core.tail),
        reports=Reports(
            runs=records.runs,
            trainings=records.trainings,
            store=core.store,
            profiler=core.profiler,
            targets=core.targets,
            addresses=addresses,
        ),
        insights=Insights(records.runs, records.datasets, core.evaluator),
        preview=SpecPreview(specs, core.profiler),
        targets=core.targets,
        pager=core.pager,
        addresses=addresses,
    )
