"""What the records keep as a whole, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from linnet_gateway import transitions
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import (
    BatchRecord,
    DatasetFacts,
    DatasetRecord,
    EventKind,
    FileRecord,
    LaunchState,
)
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, DatasetState, RunState
from linnet_runtime.errors import NotAllowedInState, NotFound
from sqlalchemy import create_engine, text

from tests.fakes.records import (
    FAILURE,
    T0,
    Time,
    a_launch,
    a_run,
    first_only,
)


async def test_a_used_dataset_stays(records: Records) -> None:
    """A dataset that a live run uses can't be deleted; afterwards its objects are doomed."""
    dataset = DatasetRecord(
        uid="d1",
        project="demo",
        id="watch",
        create_time=T0,
        state=DatasetState.READY,
        display_name="",
        input_kind=1,
        classes=("a", "b"),
        feature_names=(),
        files=(FileRecord("features.npy", "k", 1, "0" * 64),),
        facts=DatasetFacts((4,), 40, (20, 20), 2, 8, 16, validation_count=6),
    )
    await records.datasets.create(dataset)
    assert await records.datasets.get("demo", "watch") == dataset
    await records.runs.create(a_run())
    with pytest.raises(NotAllowedInState):
        await records.datasets.delete("d1", "prefix/", T0)
    await records.runs.change("u1", lambda r: transitions.fail(r, FAILURE, T0))
    await records.datasets.delete("d1", "prefix/", T0)
    with pytest.raises(NotFound):
        await records.datasets.get("demo", "watch")
    assert list(await records.keeping.doomed(T0, 10)) == ["prefix/"]
    assert list(await records.keeping.doomed(T0 - timedelta(seconds=1), 10)) == []


async def test_retention_names_the_oldest(records: Records, time: Time) -> None:
    """Terminal runs beyond the newest two, or that ended long ago, are named; live ones never."""
    for i in range(5):
        await records.runs.create(a_run(f"u{i}", create_time=T0 + timedelta(seconds=i)))
    for i in range(4):
        ended = T0 + timedelta(hours=i)
        await records.runs.change(f"u{i}", lambda r, at=ended: transitions.fail(r, FAILURE, at))  # type: ignore[misc]  # binds at
    assert set(await records.keeping.expired_runs(None, 2, 10)) == {"u0", "u1"}
    before = T0 + timedelta(minutes=30)
    assert set(await records.keeping.expired_runs(before, 0, 10)) == {"u0"}
    await records.runs.delete("u0", T0)
    assert set(await records.keeping.expired_runs(before, 0, 10)) == set()
    assert [r.uid for r in await records.runs.list("demo", Page(10), RunFilter())][-1] == "u1"


async def test_a_batch_goes_with_the_last_of_its_runs(records: Records) -> None:
    """Runs of a live batch stay; a batch that ended goes, with its objects, once it has none."""
    await records.batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    members = [a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i) for i in range(2)]
    await records.batches.add("b1", members, 0)
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    late = T0 + timedelta(hours=1)
    await records.runs.change("u0", lambda r: transitions.fail(r, FAILURE, T0))
    assert list(await records.keeping.expired_runs(late, 0, 10)) == []
    assert list(await records.keeping.expired_runs(None, 1, 10)) == []
    await records.runs.change("u1", lambda r: transitions.fail(r, FAILURE, T0))
    await records.batches.end_finished(T0)
    assert set(await records.keeping.expired_runs(late, 0, 10)) == {"u0", "u1"}
    assert set(await records.keeping.expired_runs(None, 1, 10)) == {"u0"}
    await records.runs.delete("u0", T0)
    assert await records.keeping.expire_batches(late, late) == 0
    await records.runs.delete("u1", T0)
    assert await records.keeping.expire_batches(T0, late) == 0
    assert await records.keeping.expire_batches(late, late) == 1
    assert "projects/demo/batches/b-b1/" in await records.keeping.doomed(late, 10)
    with pytest.raises(NotFound):
        await records.batches.get("demo", "b")


async def test_launches_are_forgotten_long_after_they_ended(records: Records) -> None:
    """A launch that ended before the time goes; one that is under way or ended later stays."""
    for number in "123":
        await records.runs.create(a_run(f"u{number}"))
        await records.launches.plan([(a_launch(f"l{number}"), [(f"u{number}", 0)])])
    for uid, hours in (("l1", 0), ("l2", 2)):
        ended = T0 + timedelta(hours=hours)
        await records.launches.change(
            uid,
            lambda launch, at=ended: replace(launch, state=LaunchState.ENDED, end_time=at),  # type: ignore[misc]  # binds at
        )
    await records.keeping.forget_launches(T0 + timedelta(hours=1))
    with pytest.raises(NotFound):
        await records.launches.get("l1")
    for uid in ("l2", "l3"):
        assert (await records.launches.get(uid)).uid == uid


async def test_the_audit_log_shows_what_was_changed(records: Records, url: str) -> None:
    """An intact chain verifies; changing an entry or dropping one is found."""
    for i in range(4):
        await records.audit.write("ann", "CreateRun", f"projects/demo/runs/r{i}", "OK")
    assert (await records.audit.verify()).broken is None
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE id = 2"))
    engine.dispose()
    assert (await records.audit.verify()).broken == 3


async def test_two_gateways_on_one_database_see_the_same(empty_url: str, time: Time) -> None:
    """What one writes the other reads; both together hand a run out once."""
    migrate.upgrade(empty_url)
    one, two = Records(empty_url, time), Records(empty_url, time)
    try:
        await one.runs.create(a_run())
        assert (await two.runs.get_uid("u1")).state is RunState.QUEUED
        await two.launches.plan([(a_launch(), [("u1", 0)])])
        choose = partial(first_only, now=T0)
        got = await asyncio.gather(*(r.trainings.hand_out("l1", 0, choose) for r in (one, two) * 5))
        assert [run.uid for run in got if run is not None] == ["u1"]
        assert next(e.kind for e in await two.events.since(0, 10)) is EventKind.RUN
    finally:
        one.close()
        two.close()


def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    """The second upgrade finds nothing to do, and the tables are those of the code."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from linnet_gateway.sql.schema import metadata

    migrate.upgrade(empty_url)
    assert migrate.current(empty_url) == migrate.HEAD
    migrate.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
