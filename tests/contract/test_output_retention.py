"""Output, artifacts and the audit log may be kept for less long than records, and say so."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway import transitions
from linnet_gateway.addresses import Addresses
from linnet_gateway.converters import run_message
from linnet_gateway.reconciling.housekeeping import Housekeeping, KeepingLimits, RunLife
from linnet_gateway.records import FileRecord, LogChunk, RunRecord, altered
from linnet_gateway.runs.insights import Insights
from linnet_gateway.runs.reports import Reports
from linnet_gateway.runs.watching import Watching
from linnet_gateway.sql import schema
from linnet_gateway.sql.audit import PRUNED, SqlAudit
from linnet_gateway.sql.store import Records
from linnet_gateway.states import RunState
from linnet_gateway.tail import EventTail
from linnet_runtime.errors import NotAllowedInState, NotFound
from linnet_runtime.ids import parse_name
from sqlalchemy import select

from tests.fakes.clock import ManualClock
from tests.fakes.objectstore import MemoryStore
from tests.fakes.records import T0, Time, a_run
from tests.support.stored_chunks import stored

OLD, YOUNG = T0 - timedelta(days=3), T0 - timedelta(hours=1)
FILES = ("attempts/1/model.keras", "attempts/1/manifest.json", "scores.npz", "explorer-pca.json")


def keeping_house(records: Records, store: MemoryStore, limits: KeepingLimits) -> Housekeeping:
    return Housekeeping(
        keeping=records.keeping,
        events=records.events,
        runs=records.runs,
        store=store,
        clock=ManualClock(),
        limits=limits,
    )


async def ended(
    records: Records, store: MemoryStore, uid: str, at: datetime, **changes: Any
) -> RunRecord:
    """Make a run that has succeeded, with artifacts and output in the store."""
    run = await records.runs.create(a_run(uid, create_time=at, attempt=1, spec=b"", **changes))
    keys = [f"{run.prefix}/{name}" for name in FILES]
    files = tuple(FileRecord(key.rpartition("/")[2], key, 1, "0" * 64) for key in keys[:3])
    log = f"{run.prefix}/attempts/1/log/1.jsonl"
    for key in (*keys, log):
        store.put(key, b"x")
    done = transitions.end(altered(run, artifacts=files), RunState.CANCELLED, at)
    await records.runs.change(uid, lambda _: done)
    await stored(records, LogChunk(uid, 1, 1, 3, FileRecord("1.jsonl", log, 1, "0" * 64)))
    return await records.runs.get_uid(uid)


def left(store: MemoryStore, run: RunRecord) -> set[str]:
    return {key.removeprefix(f"{run.prefix}/") for key in store.objects if run.prefix in key}


LOG = "attempts/1/log/1.jsonl"


@pytest.mark.parametrize(
    ("life", "kept"),
    [
        (RunLife(artifact_life=timedelta(days=1)), {LOG}),
        (RunLife(log_life=timedelta(days=1)), set(FILES)),
        (RunLife(log_life=timedelta(days=1), artifact_life=timedelta(days=1)), set()),
        (RunLife(log_life=timedelta(days=9), artifact_life=timedelta(days=9)), {LOG, *FILES}),
    ],
)
async def test_each_goes_by_its_own_age(records: Records, life: RunLife, kept: set[str]) -> None:
    """What is left of an old run in the store; a young one keeps all, the records stay."""
    store = MemoryStore()
    old = await ended(records, store, "old", OLD)
    young = await ended(records, store, "young", YOUNG)
    await keeping_house(records, store, KeepingLimits(runs=life)).round()
    assert left(store, old) == kept
    assert left(store, young) == {LOG, *FILES}
    after = await records.runs.get_uid("old")
    gone = {"log_delete_time": LOG not in kept, "artifacts_delete_time": not kept >= set(FILES)}
    for field, is_gone in gone.items():
        assert getattr(after, field) == (T0 if is_gone else None)
        assert run_message(after).HasField(field) is is_gone  # type: ignore[arg-type]  # a field
    assert bool(after.artifacts) is (after.artifacts_delete_time is None)
    assert (after.version > old.version) is any(gone.values())


async def test_what_a_live_run_needs_stays(records: Records) -> None:
    """Artifacts of a run that a live one starts from, or is compared with, are not taken."""
    store = MemoryStore()
    for uid in ("base", "before", "free"):
        await ended(records, store, uid, OLD)
    name = "projects/demo/runs"
    await records.runs.create(a_run("user", init_from=f"{name}/base", predecessor=f"{name}/before"))
    limits = KeepingLimits(runs=RunLife(artifact_life=timedelta(days=1)))
    await keeping_house(records, store, limits).round()
    gone = {
        uid: (await records.runs.get_uid(uid)).artifacts_delete_time is not None
        for uid in ("base", "before", "free")
    }
    assert gone == {"base": False, "before": False, "free": True}


async def refusal(call: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(NotAllowedInState) as refused:
        await call()
    assert "2026-11-01" in refused.value.message
    return refused.value.reason


async def test_reading_what_is_gone_is_refused_by_name(records: Records) -> None:
    """Downloads, profiles, evaluations, thresholds, explorer and output say what is gone."""
    store, nobody = MemoryStore(), None
    for uid in ("old", "young"):
        await ended(records, store, uid, OLD if uid == "old" else YOUNG)
    day = timedelta(days=1)
    limits = KeepingLimits(runs=RunLife(log_life=day, artifact_life=day))
    await keeping_house(records, store, limits).round()
    services: dict[str, Any] = {"profiler": nobody, "targets": nobody}
    reports = Reports(
        runs=records.runs,
        trainings=records.trainings,
        store=store,
        addresses=Addresses(store, ManualClock()),
        **services,
    )
    evaluator: Any = nobody
    insights = Insights(records.runs, records.datasets, evaluator)
    old, young = (parse_name(f"projects/demo/runs/{uid}", "runs") for uid in ("old", "young"))
    for call in (
        lambda: reports.artifact(old, "model.keras"),
        lambda: reports.evaluation(old),
        lambda: reports.profile(old, pb.GetProfileRequest()),
        lambda: insights.thresholds(old, pb.GetThresholdsRequest()),
        lambda: insights.explorer(old, pb.GetExplorerRequest()),
    ):
        assert await refusal(call) == "ARTIFACTS_EXPIRED"  # type: ignore[arg-type]  # any answer
    assert (await reports.artifact(young, "model.keras")).url
    with pytest.raises(NotFound):
        await reports.artifact(young, "model.h5")

    tail = EventTail(records.events, idle_s=lambda: 1.0)
    watching = Watching(records.runs, records.trainings, records.events, store, tail)

    async def read() -> None:
        async for _ in watching.log("demo", "old", "", follow=True):
            pass

    assert await refusal(read) == "LOG_EXPIRED"


async def test_the_audit_log_is_pruned_and_proves_what_is_kept(
    records: Records, time: Time
) -> None:
    """Old entries go, with a note in the chain; what is cut off otherwise, or changed, is found."""
    audit = SqlAudit(records.database, time)
    for days in (9, 8, 7, 1):
        time.now = T0 - timedelta(days=days)
        await audit.write("me", "CreateRun", "projects/demo", f"OK {days}")
    time.now = T0
    whole = await audit.verify()
    seventh = [e async for e in audit.entries()][2]
    known = await _digest(records, seventh.id)
    house = keeping_house(records, MemoryStore(), KeepingLimits(audit_life=timedelta(days=5)))
    await house.round()
    kept = [e async for e in audit.entries()]
    assert [(e.method, e.decision) for e in kept] == [
        ("CreateRun", "OK 1"),
        (PRUNED, f"{seventh.id}:{known}"),
    ]
    expected = {1: "whatever", seventh.id: known, whole.last_id: whole.digest}
    found = await audit.verify(expected)
    assert (found.count, found.broken, found.pruned) == (2, None, 1)
    assert (await audit.verify({seventh.id: "0" * 64})).broken == seventh.id
    # Nothing is old any more: nothing is noted.
    await keeping_house(records, MemoryStore(), KeepingLimits(audit_life=timedelta(days=5))).round()
    assert (await audit.verify()).count == 2
    await audit.write("me", "DeleteRun", "projects/demo", "OK")
    await _execute(records, f"DELETE FROM audit WHERE id = {kept[0].id}")
    assert (await audit.verify()).broken == kept[1].id


async def _digest(records: Records, id_: int) -> str:
    query = select(schema.audit.c.digest).where(schema.audit.c.id == id_)
    return str(await records.database.read(lambda c: c.execute(query).scalar()))


async def _execute(records: Records, statement: str) -> None:
    await records.database.write(lambda c: c.exec_driver_sql(statement).rowcount)
