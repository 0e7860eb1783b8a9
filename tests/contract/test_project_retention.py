"""Limits and retention of single projects stand beside those of all others."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from linnet_gateway import transitions
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.core import keeping_limits, quotas_of, reconciler_limits
from linnet_gateway.launches.fairness import Demand, allot
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.reconciling.housekeeping import Housekeeping, RunLife
from linnet_gateway.records import FileRecord, LogChunk
from linnet_gateway.settings import GatewaySettings
from linnet_gateway.sql.store import Records
from linnet_runtime.s3 import S3Location

from tests.fakes.clock import ManualClock
from tests.fakes.gateway import settings_for
from tests.fakes.objectstore import MemoryStore
from tests.fakes.records import FAILURE, T0, a_run
from tests.support.stored_chunks import stored

PROJECTS = {
    "short": {"run_life_days": 0.5, "max_queued_runs": 3, "max_shards": 1},
    "few": {"runs_kept": 1, "max_queued_spec_bytes": 100},
    "all": {"run_life_days": 0, "runs_kept": 0},
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    location = S3Location("http://127.0.0.1:1", "key", "secret", "bucket")
    return settings_for(
        tmp_path, location, "127.0.0.1:1", run_life_days=2, runs_kept=4, projects=PROJECTS
    )


def test_what_a_project_does_not_say_is_as_for_all(settings: GatewaySettings) -> None:
    """Quota, shards and retention of a project are its own, field by field."""
    quotas = quotas_of(settings)
    assert (quotas.of("short").max_runs, quotas.of("few").max_runs) == (3, 200_000)
    assert quotas.of("few").max_spec_bytes == 100
    assert quotas.of("other") == quotas.default
    keeping = keeping_limits(settings)
    assert keeping.projects["short"].life == timedelta(days=0.5)
    assert (keeping.projects["few"].life, keeping.projects["few"].kept) == (timedelta(days=2), 1)
    assert (keeping.projects["all"].life, keeping.projects["all"].kept) == (None, 0)
    shards = reconciler_limits(settings, RetryLimits()).shards
    demands = [Demand(uid, uid, 0, 2, running=False) for uid in ("short", "other")]
    assert allot(demands, shards) == {"short": 1, "other": 1}
    assert shards.of("short") == 1
    assert shards.of("other") == settings.max_shards_per_project


async def test_each_project_keeps_its_runs_as_it_is_told(
    records: Records, settings: GatewaySettings
) -> None:
    """By age, by number or for ever, whatever holds for the others."""
    for project in ("short", "few", "all", "other"):
        for days in range(4):
            uid, at = f"{project}-{days}", T0 - timedelta(days=days, hours=1)
            await records.runs.create(a_run(uid, project=project, create_time=at))
            await records.runs.change(uid, lambda r, at=at: transitions.fail(r, FAILURE, at))  # type: ignore[misc]  # binds at
    housekeeping = Housekeeping(
        keeping=records.keeping,
        events=records.events,
        runs=records.runs,
        store=MemoryStore(),
        clock=ManualClock(),
        limits=keeping_limits(settings),
    )
    await housekeeping.round()
    kept = {
        project: len(await records.runs.list(project, Page(10), RunFilter()))
        for project in ("short", "few", "all", "other")
    }
    assert kept == {"short": 1, "few": 1, "all": 4, "other": 2}


async def test_output_goes_before_its_run_does(records: Records, settings: GatewaySettings) -> None:
    """Old output leaves records and store; the run and younger output stay, of each project."""
    store = MemoryStore()
    old, young = T0 - timedelta(days=1.5), T0 - timedelta(hours=1)
    for uid, project, at in (
        ("old", "other", old),
        ("young", "other", young),
        ("kept", "all", old),
    ):
        await records.runs.create(a_run(uid, project=project, create_time=at))
        await records.runs.change(uid, lambda r, at=at: transitions.fail(r, FAILURE, at))  # type: ignore[misc]  # binds at
        key = f"{(await records.runs.get_uid(uid)).prefix}/attempts/1/log/1.jsonl"
        store.put(key, b"{}")
        await stored(records, LogChunk(uid, 1, 1, 3, FileRecord("1.jsonl", key, 2, "0" * 64)))
    limits = keeping_limits(settings.model_copy(update={"log_life_days": 1.0, "projects": {}}))
    assert limits.runs.log_life == timedelta(days=1)
    limits = replace(limits, projects={"all": RunLife(log_life=None)})
    housekeeping = Housekeeping(
        keeping=records.keeping,
        events=records.events,
        runs=records.runs,
        store=store,
        clock=ManualClock(),
        limits=limits,
    )
    await housekeeping.round()
    assert len(await records.events.chunks("old", (0, 0))) == 0
    for uid in ("young", "kept"):
        assert len(await records.events.chunks(uid, (0, 0))) == 1
    assert not any("/runs/old-" in key for key in store.objects)
    assert len(store.objects) == 2
    assert (await records.runs.get_uid("old")).state.terminal
