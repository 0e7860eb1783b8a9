"""Batches in the records, on SQLite and PostgreSQL."""

from dataclasses import replace

import pytest
from linnet_gateway import transitions
from linnet_gateway.records import (
    BatchRecord,
    RunRecord,
)
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, FailureReason, RunState
from linnet_runtime.errors import Conflict, NotAllowedInState

from tests.fakes.records import FAILURE, T0, a_run


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
    assert await records.work.oldest_queued() == T0
    await records.runs.change("u0", lambda r: transitions.fail(r, FAILURE, T0))
    counts = await records.batches.counts("b1")
    assert counts.states == {RunState.FAILED: 1, RunState.QUEUED: 2}
    assert counts.failures == {FailureReason.TRAINER_CRASHED: 1}
    assert await records.work.batch_counts(1) == {
        ("demo", "b", RunState.FAILED): 1,
        ("demo", "b", RunState.QUEUED): 2,
    }
    assert await records.work.batch_counts(0) == {}

    def again(run: RunRecord, place: int) -> RunRecord:
        return a_run(f"retry-{place}", batch_uid="b1", batch_index=place, retry_of=run.uid)

    assert await records.batches.add_retries("b1", again, 10) == 1
    assert await records.batches.add_retries("b1", again, 10) == 0
    await records.batches.cancel("b1", T0)
    counts = await records.batches.counts("b1")
    assert counts.states == {RunState.FAILED: 1, RunState.CANCELLED: 3}


async def test_retrying_takes_a_cancelling_back(records: Records) -> None:
    """A batch whose failed runs are tried again after it was cancelled can be suspended again."""
    await records.batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    failed = a_run("u0", batch_uid="b1", batch_id="b", state=RunState.FAILED)
    await records.batches.add("b1", [failed], 0)
    assert (await records.batches.cancel("b1", T0)).cancel_time == T0

    def again(run: RunRecord, place: int) -> RunRecord:
        return a_run(f"retry-{place}", batch_uid="b1", batch_index=place, retry_of=run.uid)

    assert await records.batches.add_retries("b1", again, 10) == 1
    batch = await records.batches.get_uid("b1")
    assert (batch.state, batch.cancel_time) == (BatchState.RUNNING, None)


async def state_of(records: Records) -> BatchState:
    await records.batches.end_finished(T0)
    return (await records.batches.get_uid("b1")).state


async def test_a_batch_ends_with_its_last_live_run(records: Records) -> None:
    """Not while it is filled, not while a run is live; deleted runs and retries change nothing."""
    await records.batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    assert await state_of(records) is BatchState.FILLING
    members = [a_run(f"u{i}", batch_uid="b1", batch_id="b", batch_index=i) for i in range(3)]
    await records.batches.add("b1", members, 0)
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))
    for uid in ("u0", "u1"):
        await records.runs.change(uid, lambda r: transitions.fail(r, FAILURE, T0))
        assert await state_of(records) is BatchState.RUNNING
    await records.runs.delete("u0", T0)
    assert await state_of(records) is BatchState.RUNNING
    await records.runs.change("u2", lambda r: transitions.fail(r, FAILURE, T0))
    seen = (await records.batches.get_uid("b1")).version
    assert await state_of(records) is BatchState.DONE
    assert (await records.batches.get_uid("b1")).version == seen + 1

    def again(run: RunRecord, place: int) -> RunRecord:
        return a_run(f"retry-{place}", batch_uid="b1", batch_index=place, retry_of=run.uid)

    assert await records.batches.add_retries("b1", again, 10) == 2
    assert await state_of(records) is BatchState.RUNNING
    await records.batches.cancel("b1", T0)
    assert await state_of(records) is BatchState.DONE


async def test_a_suspended_batch_takes_no_retries(records: Records) -> None:
    """Retries would put a batch that was suspended meanwhile back to work."""
    await records.batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    await records.batches.add("b1", [a_run(batch_uid="b1", batch_id="b")], 0)
    await records.runs.change("u1", lambda r: transitions.fail(r, FAILURE, T0))
    await records.batches.change("b1", lambda b: replace(b, state=BatchState.SUSPENDED))
    with pytest.raises(NotAllowedInState):
        await records.batches.add_retries("b1", lambda r, _: replace(r, uid="u2", id="u2"), 10)
    assert (await records.batches.get_uid("b1")).state is BatchState.SUSPENDED
