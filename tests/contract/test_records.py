"""What the records keep, on SQLite and on PostgreSQL (where Debian's server is installed)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from linnet.v1 import run_pb2
from linnet_gateway import attempts, transitions
from linnet_gateway.attempts import RetryLimits
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import (
    BatchRecord,
    DatasetRecord,
    EventKind,
    FileRecord,
    LaunchRecord,
    LaunchState,
    LogChunk,
    RunRecord,
)
from linnet_gateway.reported import Report
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, DatasetState, Failure, FailureReason, RunState
from linnet_runtime.errors import AlreadyExists, Conflict, NotAllowedInState, NotFound
from sqlalchemy import create_engine, text

from tests.fakes import postgres

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
FAILURE = Failure(FailureReason.TRAINER_CRASHED, "crashed", 1, log_tail=("last words",))


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.running_postgres() as url:
        yield url


def fresh(url: str) -> None:
    """Empty a PostgreSQL database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    found: str = request.getfixturevalue("postgres_url")
    fresh(found)
    return found


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def records(url: str, time: Time) -> AsyncIterator[Records]:
    migrate.upgrade(url)
    made = Records(url, time)
    yield made
    made.close()


def a_run(uid: str = "u1", id_: str = "", **changes: object) -> RunRecord:
    base = RunRecord(
        uid=uid,
        project="demo",
        id=id_ or uid,
        create_time=T0,
        update_time=T0,
        spec=b"spec",
        spec_digest="d1",
        dataset="watch",
        target="cortex-m4f-80mhz",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of RunRecord


def a_launch(uid: str = "l1", shard_count: int = 1) -> LaunchRecord:
    return LaunchRecord(
        uid=uid,
        project="demo",
        create_time=T0,
        state=LaunchState.PLANNED,
        shard_count=shard_count,
        parallelism=1,
        cpu_millis=1000,
        memory_bytes=1 << 30,
        deadline=timedelta(hours=1),
        expert=False,
        spec_digest="x",
    )


async def hand_out(records: Records, launch: str = "l1", shard: int = 0) -> RunRecord | None:
    choose = partial(attempts.choose_next, crash=None, limits=RetryLimits(), now=T0)
    return await records.trainings.hand_out(launch, shard, choose)


def a_report(run: RunRecord, first: int, count: int = 1, **changes: object) -> Report:
    base = Report(
        run_uid=run.uid,
        attempt=run.attempt,
        first=first,
        last=first + count - 1,
        entries=b"entries",
        epochs={first: run_pb2.Epoch(number=first).SerializeToString()},
        progress=run_pb2.Progress(epoch=first).SerializeToString(),
        phase=2,
        memory_bytes=5,
        time_used_us=7,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of Report


async def begun(records: Records) -> RunRecord:
    """Create a run and hand it out."""
    await records.runs.create(a_run())
    await records.launches.plan([(a_launch(), [("u1", 0)])])
    run = await hand_out(records)
    assert run is not None
    return run


async def test_a_run_comes_back_as_it_was_stored(records: Records) -> None:
    """Every field survives, also those with text that SQL could trip over."""
    file = FileRecord("a'b", "k\\%", 3, "0" * 64)
    run = a_run(
        display_name="Ünïcode '; DROP TABLE runs; --",
        labels={"line": 'a"3', "é": "%_\\"},
        failure=FAILURE,
        artifacts=(file,),
        checkpoint=(file,),
        warnings=("one", "two"),
        deadline=timedelta(seconds=90),
        cancel_time=T0,
        time_used=timedelta(milliseconds=1500),
        summary=b"\x00\xff",
        request_id="r",
    )
    await records.runs.create(run)
    assert await records.runs.get("demo", "u1") == run
    assert await records.runs.get_uid("u1") == run


async def test_a_repeated_request_gives_the_first_run(records: Records) -> None:
    """Same request and spec: the first; same request, other spec: refused; same id: refused."""
    first = await records.runs.create(a_run("u1", request_id="r"))
    assert await records.runs.create(a_run("u2", request_id="r")) == first
    with pytest.raises(AlreadyExists) as caught:
        await records.runs.create(a_run("u3", request_id="r", spec_digest="d2"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists) as caught:
        await records.runs.create(a_run("u4", "u1"))
    assert caught.value.reason == "RUN_EXISTS"


async def test_concurrent_repeats_make_one_run(records: Records) -> None:
    """Twenty submissions of one request at once end with one run and the same answer."""
    made = await asyncio.gather(
        *(records.runs.create(a_run(f"u{i}", request_id="r")) for i in range(20))
    )
    assert len({run.uid for run in made}) == 1
    assert len(await records.runs.list("demo", Page(100), RunFilter())) == 1


async def test_a_terminal_state_is_final(records: Records) -> None:
    """Of many ends at once exactly one happens, and nothing moves the run afterwards."""
    await records.runs.create(a_run())

    def end(state: RunState, run: RunRecord) -> RunRecord:
        return replace(run, state=state, end_time=T0)

    ends = [RunState.FAILED, RunState.CANCELLED] * 10
    results = await asyncio.gather(
        *(records.runs.change("u1", partial(end, state)) for state in ends),
        return_exceptions=True,
    )
    final = (await records.runs.get_uid("u1")).state
    refused = [r for r in results if isinstance(r, NotAllowedInState)]
    # The same end again changes nothing and is no move.
    assert len(refused) == 10
    assert final is RunState.FAILED
    with pytest.raises(NotAllowedInState):
        await records.runs.change("u1", partial(end, RunState.SUCCEEDED))


async def test_versions_count_what_callers_see(records: Records) -> None:
    """A move makes a new version, progress does not, and no change makes none."""
    run = await begun(records)
    await records.trainings.store_reports([a_report(run, 1)], T0)
    one = await records.runs.get_uid("u1")
    await records.trainings.store_reports([a_report(run, 2)], T0)
    two = await records.runs.get_uid("u1")
    assert one.version == two.version
    assert two.log_sequence == 2
    same = await records.runs.change("u1", lambda r: r)
    assert same.version == two.version
    other = await records.runs.change("u1", lambda r: replace(r, waiting="why"))
    assert other.version == two.version + 1


async def test_pages_give_every_run_once(records: Records) -> None:
    """Keyset pages, with equal times too, give each run once, newest first."""
    for i in range(25):
        await records.runs.create(a_run(f"u{i:02}", create_time=T0 + timedelta(seconds=i // 5)))
    found: list[RunRecord] = []
    page = Page(4)
    while part := await records.runs.list("demo", page, RunFilter()):
        found += part
        page = Page(4, (part[-1].create_time, part[-1].uid))
    keys = [(run.create_time, run.uid) for run in found]
    assert keys == sorted(keys, reverse=True)
    assert len({run.uid for run in found}) == 25


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (RunFilter(), {"a", "b", "c"}),
        (RunFilter(states=frozenset({RunState.QUEUED})), {"a", "b", "c"}),
        (RunFilter(states=frozenset({RunState.FAILED})), set()),
        (RunFilter(labels={"line": "3"}), {"a"}),
        (RunFilter(labels={"line": "3", "x": "y"}), set()),
        (RunFilter(labels={"li": "ne"}), set()),
        (RunFilter(labels={"100%": '"_'}), {"b"}),
        (RunFilter(dataset="other"), {"c"}),
    ],
)
async def test_filters_choose_exactly(
    records: Records, which: RunFilter, expected: set[str]
) -> None:
    """Labels match as whole pairs, whatever characters they hold."""
    await records.runs.create(a_run("a", labels={"line": "3"}))
    await records.runs.create(a_run("b", labels={"line": "33", "100%": '"_'}))
    await records.runs.create(a_run("c", dataset="other", labels={"x": '"line": "3"'}))
    found = await records.runs.list("demo", Page(10), which)
    assert {run.uid for run in found} == expected


async def test_a_run_is_handed_out_once(records: Records) -> None:
    """Twenty trainers of a shard that ask at once get one run between them."""
    await records.runs.create(a_run())
    await records.launches.plan([(a_launch(), [("u1", 0)])])
    choose = partial(_first_only, now=T0)
    got = await asyncio.gather(*(records.trainings.hand_out("l1", 0, choose) for _ in range(20)))
    assert [run.uid for run in got if run is not None] == ["u1"]


def _first_only(
    launch: LaunchRecord, held: RunRecord | None, waiting: RunRecord | None, *, now: datetime
) -> tuple[Sequence[RunRecord], RunRecord | None]:
    if held is not None:
        return [], None
    return attempts.choose_next(launch, None, waiting, crash=None, limits=RetryLimits(), now=now)


async def test_a_lost_attempt_is_begun_anew_until_the_limit(records: Records) -> None:
    """A shard that asks again without a result gets the run as its next attempt, three times."""
    run = await begun(records)
    for attempt in (1, 2, 3):
        assert run is not None
        assert run.attempt == attempt
        await records.trainings.store_reports([a_report(run, 1)], T0)
        run = await hand_out(records)
    assert run is None
    failed = await records.runs.get_uid("u1")
    assert failed.state is RunState.FAILED
    assert failed.failure is not None
    assert failed.failure.reason is FailureReason.TRAINER_CRASHED


async def test_reports_are_stored_once_and_in_order(records: Records) -> None:
    """Repeated entries are passed over, a gap is refused, and another attempt's are not stored."""
    run = await begun(records)
    reports = [a_report(run, 1, 2), a_report(run, 1, 2), a_report(run, 5), a_report(run, 3)]
    stored = [(await records.trainings.store_reports([r], T0))[0] for r in reports]
    assert [(s.sequence, s.gap) for s in stored] == [(2, False), (2, False), (2, True), (3, False)]
    stale = await records.trainings.store_reports([a_report(run, 4, attempt=9)], T0)
    assert not stale[0].current
    events = await records.events.log("u1", (0, 0), 10)
    assert [(e.first, e.last) for e in events] == [(1, 2), (3, 3)]
    assert [row[1] for row in await records.trainings.epochs("u1", (0, 0))] == [1, 3]
    assert (await records.runs.get_uid("u1")).state is RunState.TRAINING


async def test_events_grow_in_order_while_many_write(records: Records) -> None:
    """A reader who remembers the last id misses nothing that is written meanwhile."""
    for i in range(10):
        await records.runs.create(a_run(f"u{i}"))
    seen: list[int] = []

    async def read() -> None:
        last = 0
        while len(seen) < 110:
            for event in await records.events.since(last, 20):
                seen.append(event.id)
                last = event.id
            await asyncio.sleep(0)

    async def write(i: int) -> None:
        for k in range(10):
            await records.runs.change(f"u{i}", lambda r, k=k: replace(r, waiting=str(k)))  # type: ignore[misc]  # binds k

    async with asyncio.timeout(60):
        await asyncio.gather(read(), *(write(i) for i in range(10)))
    assert seen == sorted(set(seen))
    assert len(seen) == 110


async def test_a_log_moves_to_a_chunk_without_a_gap(records: Records, time: Time) -> None:
    """Old log events are named, and archiving puts the chunk in their place, once."""
    run = await begun(records)
    await records.trainings.store_reports([a_report(run, 1, 3)], T0)
    assert await records.events.archivable(T0, 1 << 20, 10) == []
    ripe = await records.events.archivable(T0 + timedelta(seconds=1), 1 << 20, 10)
    assert list(ripe) == [("u1", 1)]
    chunk = LogChunk("u1", 1, 1, 3, FileRecord("1.jsonl", "k/1.jsonl", 3, "0" * 64))
    await records.events.archive(chunk)
    await records.events.archive(chunk)
    assert await records.events.log("u1", (0, 0), 10) == []
    assert list(await records.events.chunks("u1", (0, 0))) == [chunk]
    assert list(await records.events.chunks("u1", (1, 3))) == []


async def test_planning_takes_each_run_once(records: Records) -> None:
    """Two plans with the same run: one launch has it, the other, left with none, is not stored."""
    await records.runs.create(a_run())
    await records.launches.plan([(a_launch("l1"), [("u1", 0)])])
    await records.launches.plan([(a_launch("l2"), [("u1", 0)])])
    assert [launch.uid for launch in await records.launches.live()] == ["l1"]
    assert (await records.runs.get_uid("u1")).launch_uid == "l1"
    assert [r.uid for r in await records.launches.unfinished("l1")] == ["u1"]
    assert list(await records.launches.needless()) == []
    await records.runs.change("u1", lambda r: transitions.ask_to_cancel(r, T0))
    assert [launch.uid for launch in await records.launches.needless()] == ["l1"]
    assert list(await records.launches.cancelled()) == []
    ended = await records.launches.change("l1", lambda x: replace(x, state=LaunchState.ENDED))
    assert ended.state is LaunchState.ENDED
    assert list(await records.launches.live()) == []


async def test_a_launch_is_cancelled_once_no_run_of_it_goes_on(records: Records) -> None:
    """Only a launch under way, of which a run was cancelled and none needs a trainer, is told."""
    for uid in ("u1", "u2", "u3"):
        await records.runs.create(a_run(uid))
    await records.launches.plan([(a_launch("l1"), [("u1", 0), ("u2", 0)])])
    await records.launches.plan([(a_launch("l2"), [("u3", 0)])])
    for uid in ("l1", "l2"):
        await records.launches.change(uid, lambda x: replace(x, state=LaunchState.LAUNCHED))
    await records.runs.change("u1", lambda r: transitions.cancelled(r, T0))
    await records.runs.change("u3", lambda r: transitions.end(r, RunState.FAILED, T0))
    assert list(await records.launches.cancelled()) == []
    await records.runs.change("u2", lambda r: transitions.end(r, RunState.FAILED, T0))
    assert list(await records.launches.cancelled()) == ["l1"]
    await records.launches.change("l1", lambda x: replace(x, state=LaunchState.STOPPING))
    assert list(await records.launches.cancelled()) == []


async def test_batches_fill_count_and_cancel(records: Records) -> None:
    """Chunks must follow each other; counts follow the runs; cancelling ends what waits."""
    batch = BatchRecord("b1", "demo", "b", T0, BatchState.FILLING, request_id="r")
    await records.batches.create(batch)
    assert await records.batches.create(replace(batch, uid="b2")) == batch
    members = [a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i) for i in range(3)]
    assert await records.batches.add("b1", members[:2], 0) == 2
    with pytest.raises(Conflict):
        await records.batches.add("b1", members[2:], 0)
    assert await records.batches.add("b1", members[2:], 2) == 3
    assert list(await records.work.unplanned(10)) == []
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    assert len(await records.work.unplanned(10)) == 3
    await records.runs.change("u0", lambda r: transitions.fail(r, FAILURE, T0))
    counts = await records.batches.counts("b1")
    assert counts.states == {RunState.FAILED: 1, RunState.QUEUED: 2}
    assert counts.failures == {FailureReason.TRAINER_CRASHED: 1}

    def again(run: RunRecord, place: int) -> RunRecord:
        return a_run(f"retry-{place}", batch_uid="b1", batch_index=place, retry_of=run.uid)

    assert await records.batches.add_retries("b1", again, 10) == 1
    assert await records.batches.add_retries("b1", again, 10) == 0
    await records.batches.cancel("b1", T0)
    counts = await records.batches.counts("b1")
    assert counts.states == {RunState.FAILED: 1, RunState.CANCELLED: 3}


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
    assert list(await records.keeping.doomed(10)) == ["prefix/"]


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


async def test_the_audit_log_shows_what_was_changed(records: Records, url: str) -> None:
    """An intact chain verifies; changing an entry or dropping one is found."""
    for i in range(4):
        await records.audit.write("ann", "CreateRun", f"projects/demo/runs/r{i}", "OK")
    assert await records.audit.verify() is None
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE id = 2"))
    engine.dispose()
    assert await records.audit.verify() == 3


async def test_two_gateways_on_one_database_see_the_same(url: str, time: Time) -> None:
    """What one writes the other reads; both together hand a run out once."""
    migrate.upgrade(url)
    one, two = Records(url, time), Records(url, time)
    try:
        await one.runs.create(a_run())
        assert (await two.runs.get_uid("u1")).state is RunState.QUEUED
        await two.launches.plan([(a_launch(), [("u1", 0)])])
        choose = partial(_first_only, now=T0)
        got = await asyncio.gather(*(r.trainings.hand_out("l1", 0, choose) for r in (one, two) * 5))
        assert [run.uid for run in got if run is not None] == ["u1"]
        assert next(e.kind for e in await two.events.since(0, 10)) is EventKind.RUN
    finally:
        one.close()
        two.close()


def test_migrating_twice_changes_nothing(url: str) -> None:
    """The second upgrade finds nothing to do, and the tables are those of the code."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from linnet_gateway.sql.schema import metadata

    migrate.upgrade(url)
    assert migrate.current(url) == migrate.HEAD
    migrate.upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
