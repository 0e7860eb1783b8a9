"""Limits of a project hold in the transaction that adds runs, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from linnet_gateway import transitions
from linnet_gateway.quotas import Held, Quota
from linnet_gateway.records import BatchRecord, RunRecord
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState
from linnet_runtime.errors import QuotaExceeded

from tests.fakes.records import FAILURE, T0, a_run

THREE = Quota(max_runs=3)


async def batch(records: Records, uid: str) -> BatchRecord:
    made = BatchRecord(uid, "demo", uid, T0, BatchState.FILLING)
    return await records.batches.create(made)


def members(uid: str, count: int, **changes: object) -> list[RunRecord]:
    return [
        a_run(f"{uid}-{i}", batch_uid=uid, batch_id=uid, batch_index=i, **changes)
        for i in range(count)
    ]


async def fail(records: Records, uid: str) -> None:
    await records.runs.change(uid, lambda r: transitions.fail(r, FAILURE, T0))


def refused(answers: Sequence[object]) -> list[QuotaExceeded]:
    return [answer for answer in answers if isinstance(answer, QuotaExceeded)]


async def test_requests_at_once_do_not_exceed_a_limit_together(records: Records) -> None:
    """Of twenty batches of three, and of twenty runs, as many are taken as the project may have."""
    for i in range(20):
        await batch(records, f"b{i}")
    adding = (records.batches.add(f"b{i}", members(f"b{i}", 3), 0, THREE) for i in range(20))
    answers = await asyncio.gather(*adding, return_exceptions=True)
    assert len(refused(answers)) == 19
    assert refused(answers)[0].reason == "TOO_MANY_RUNS"
    creating = (records.runs.create(a_run(f"r{i}"), Quota(max_runs=5)) for i in range(20))
    assert len(refused(await asyncio.gather(*creating, return_exceptions=True))) == 18
    assert len(await records.work.unplanned(100)) == 2
    # Another project has its own, and ended runs take no room.
    await records.runs.create(a_run("other", project="other"), Quota(max_runs=1))
    mine = next(r for r in await records.work.unplanned(100) if r.project == "demo")
    await fail(records, mine.uid)
    await records.runs.create(a_run("next"), Quota(max_runs=5))


async def test_a_repeated_request_needs_no_room(records: Records) -> None:
    """The run that it made before is given, however full the project is."""
    one = Quota(max_runs=1)
    first = await records.runs.create(a_run("u1", request_id="r"), one)
    assert await records.runs.create(a_run("u2", request_id="r"), one) == first
    assert await records.runs.requested("demo", "r", "d1") == first
    assert await records.runs.requested("demo", "other", "d1") is None


async def test_retries_count_what_they_add(records: Records) -> None:
    """Failed runs that have a retry take no room; all that lack one get it, or none does."""
    await batch(records, "b1")
    await records.batches.add("b1", members("b1", 4), 0)
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    await fail(records, "b1-0")
    await fail(records, "b1-1")

    def again(run: RunRecord, place: int) -> RunRecord:
        return a_run(f"b1-{place}", batch_uid="b1", batch_index=place, retry_of=run.uid)

    with pytest.raises(QuotaExceeded):
        await records.batches.add_retries("b1", again, 10, THREE)
    assert (await records.batches.get_uid("b1")).run_count == 4
    assert await records.batches.add_retries("b1", again, 10, Quota(max_runs=4)) == 2
    for uid in ("b1-2", "b1-3", "b1-4"):
        await fail(records, uid)
    # One is live, five have failed, two of them have a retry.
    assert await records.batches.add_retries("b1", again, 10, Quota(max_runs=4)) == 3
    assert await records.batches.add_retries("b1", again, 10, Quota(max_runs=4)) == 0
    assert (await records.batches.get_uid("b1")).run_count == 9


async def test_specs_take_room_by_the_byte(records: Records) -> None:
    """Of a project while its runs are live, of a batch for as long as it is there."""
    quota = Quota(max_spec_bytes=250, max_batch_spec_bytes=350)
    await batch(records, "b1")
    runs = members("b1", 4, spec=b"s" * 100)
    await records.batches.add("b1", runs[:2], 0, quota)
    for adding in (
        records.batches.add("b1", runs[2:3], 2, quota),
        records.runs.create(a_run("single", spec=b"s" * 51), quota),
        records.runs.check_room("demo", Held(1, 51), quota),
    ):
        with pytest.raises(QuotaExceeded) as caught:
            await adding
        assert caught.value.reason == "SPECS_TOO_LARGE"
    await records.runs.check_room("demo", Held(1, 50), quota)
    await fail(records, "b1-0")
    await records.batches.add("b1", runs[2:3], 2, quota)
    await fail(records, "b1-1")
    with pytest.raises(QuotaExceeded) as caught:
        await records.batches.add("b1", runs[3:], 3, quota)
    assert caught.value.reason == "BATCH_TOO_LARGE"


async def test_large_runs_are_read_some_at_a_time(records: Records) -> None:
    """Not more than 4 MiB of specs together, but always one; retries of them are all made."""
    await batch(records, "b1")
    sizes = [3, 2, 2, 5, 1]
    runs = [
        replace(run, spec=b"s" * size * 1024 * 1024)
        for run, size in zip(members("b1", 5), sizes, strict=True)
    ]
    await records.batches.add("b1", runs, 0)
    found = []
    after = -1
    while some := await records.batches.members("b1", after, 100):
        found.append([run.batch_index for run in some])
        after = some[-1].batch_index
    assert found == [[0], [1, 2], [3], [4]]
    assert await records.batches.digests("b1", 1, 2) == ["d1", "d1"]
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    for run in runs:
        await fail(records, run.uid)

    def again(run: RunRecord, place: int) -> RunRecord:
        return replace(run, uid=f"again-{place}", id=f"again-{place}", retry_of=run.uid)

    assert await records.batches.add_retries("b1", again, 100) == 5
