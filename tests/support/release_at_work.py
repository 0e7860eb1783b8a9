"""What a release does with its records; `python release_at_work.py URL NAME`.

Prints as JSON which release ran and what it saw. Only names that release 1 had are used.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

from linnet_gateway import attempts, transitions
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import (
    BatchRecord,
    FileRecord,
    LaunchRecord,
    LaunchState,
    RunRecord,
)
from linnet_gateway.reported import Report
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, StageKind

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def a_run(name: str, batch: BatchRecord | None = None, index: int = 0) -> RunRecord:
    """Give a queued run."""
    return RunRecord(
        uid=f"u-{name}",
        project="demo",
        id=name,
        create_time=NOW,
        update_time=NOW,
        spec=b"spec",
        spec_digest=f"digest of {name}",
        dataset="watch",
        target="cortex-m4f-80mhz",
        request_id=f"request {name}",
        batch_uid=None if batch is None else batch.uid,
        batch_id="" if batch is None else batch.id,
        batch_index=index,
    )


async def train(records: Records, name: str) -> RunRecord:
    """Take a run from the queue to its end."""
    launch = LaunchRecord(
        uid=f"l-{name}",
        project="demo",
        create_time=NOW,
        state=LaunchState.PLANNED,
        shard_count=1,
        parallelism=1,
        cpu_millis=1000,
        memory_bytes=1,
        deadline=timedelta(hours=1),
        expert=False,
        spec_digest="x",
    )
    await records.launches.plan([(launch, [(f"u-{name}", 0)])])
    choose = partial(attempts.choose_next, crash=None, limits=RetryLimits(), now=NOW)
    run = await records.trainings.hand_out(launch.uid, 0, choose)
    assert run is not None
    report = Report(
        run_uid=run.uid,
        attempt=run.attempt,
        first=1,
        last=1,
        entries=b"entries",
        epochs={1: b"epoch"},
        progress=b"progress",
        phase=2,
        memory_bytes=1,
        time_used_us=1,
    )
    stored = (await records.trainings.store_reports([report], NOW))[0]
    assert stored.sequence == 1
    files = (FileRecord("manifest.json", "key", 1, "0" * 64),)
    await records.runs.change(run.uid, lambda r: attempts.trained(r, files, b"", (), NOW))
    for kind in (StageKind.EVALUATE, StageKind.PROFILE):
        ended = partial(transitions.stage_ended, kind=kind, failure=None, now=NOW)
        run = await records.runs.change(run.uid, ended)
    return run


async def work(url: str, name: str) -> dict[str, object]:
    """Do once what a gateway does with its records all day."""
    migrate.upgrade(url)
    records = Records(url, lambda: NOW)
    try:
        before = await records.runs.list("demo", Page(100), RunFilter())
        seen = await records.events.last_id()
        await records.runs.create(a_run(name))
        again = await records.runs.create(a_run(name))
        run = await train(records, name)
        batch = BatchRecord(f"b-{name}", "demo", f"b-{name}", NOW, BatchState.FILLING)
        await records.batches.create(batch)
        members = [a_run(f"{name}-{i}", batch, i) for i in range(3)]
        await records.batches.add(batch.uid, members, 0)
        await records.batches.cancel(batch.uid, NOW)
        counts = await records.batches.counts(batch.uid)
        expired = await records.keeping.expired_runs(NOW + timedelta(hours=1), 0, 100)
        await records.keeping.forget_events(NOW - timedelta(hours=1))
        events = await records.events.since(seen, 1000)
        await records.runs.delete(f"u-{name}-0", NOW)
        return {
            "revision": migrate.HEAD,
            "found": sorted(r.id for r in before),
            "repeated": again.uid,
            "state": run.state.name,
            "epochs": len(await records.trainings.epochs(run.uid, (0, 0))),
            "cancelled": sum(counts.states.values()),
            "expired": sorted(expired),
            "events": len(events) > 0,
        }
    finally:
        records.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(*sys.argv[1:]))))
