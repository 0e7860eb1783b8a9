"""What trainers change in the records, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

from linnet_gateway import transitions
from linnet_gateway.records import (
    FileRecord,
    LaunchState,
    LogChunk,
)
from linnet_gateway.sql.store import Records
from linnet_gateway.states import FailureReason, RunState

from tests.fakes.records import (
    T0,
    Time,
    a_launch,
    a_report,
    a_run,
    begun,
    first_only,
    hand_out,
)


async def test_a_run_is_handed_out_once(records: Records) -> None:
    """Twenty trainers of a shard that ask at once get one run between them."""
    await records.runs.create(a_run())
    await records.launches.plan([(a_launch(), [("u1", 0)])])
    choose = partial(first_only, now=T0)
    got = await asyncio.gather(*(records.trainings.hand_out("l1", 0, choose) for _ in range(20)))
    assert [run.uid for run in got if run is not None] == ["u1"]


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
    await records.runs.change("u1", lambda r: transitions.ask_to_cancel(r, T0))
    assert (await records.runs.get_uid("u1")).state is RunState.CANCELLED
    await records.runs.change("u3", lambda r: transitions.end(r, RunState.FAILED, T0))
    assert list(await records.launches.cancelled()) == []
    await records.runs.change("u2", lambda r: transitions.end(r, RunState.FAILED, T0))
    assert list(await records.launches.cancelled()) == ["l1"]
    await records.launches.change("l1", lambda x: replace(x, state=LaunchState.STOPPING))
    assert list(await records.launches.cancelled()) == []
