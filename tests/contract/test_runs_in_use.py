"""What a live run starts from, or is compared with, is there as long as it is needed."""

from datetime import timedelta
from typing import Any

import pytest
from linnet_gateway import transitions
from linnet_gateway.reconciling.housekeeping import Housekeeping, KeepingLimits, RunLife
from linnet_gateway.records import RunRecord
from linnet_gateway.sql.store import Records
from linnet_runtime.errors import NotAllowedInState, NotFound

from tests.fakes.clock import ManualClock
from tests.fakes.objectstore import MemoryStore
from tests.fakes.records import FAILURE, T0, Time, a_run

LATE = T0 + timedelta(days=1)
ALL = ("base", "child", "newer", "other")
USES = {
    "its weights": {"init_from": "projects/demo/runs/base"},
    "its scores": {"predecessor": "projects/demo/runs/base"},
}


def failed(run: RunRecord) -> RunRecord:
    return transitions.fail(run, FAILURE, T0)


async def ended(records: Records, uid: str) -> None:
    await records.runs.create(a_run(uid))
    await records.runs.change(uid, failed)


@pytest.mark.parametrize("use", USES)
async def test_a_run_that_a_live_run_needs_stays(records: Records, use: str) -> None:
    """Neither asked for nor out of age or number it is deleted, until that run has ended."""
    await ended(records, "base")
    await records.runs.create(a_run("other", project="other", **USES[use]))
    await records.runs.change("other", failed)
    await records.runs.create(a_run("child", **USES[use]))
    await ended(records, "newer")
    with pytest.raises(NotAllowedInState) as caught:
        await records.runs.delete("base", LATE)
    assert caught.value.reason == "RUN_IN_USE"
    assert caught.value.metadata == {"run": "projects/demo/runs/base", "user": "child"}
    assert await records.keeping.expired_runs(None, 1, 10) == []
    assert set(await records.keeping.expired_runs(LATE, 0, 10)) == {"newer", "other"}
    await records.runs.change("child", failed)
    assert set(await records.keeping.expired_runs(LATE, 0, 10)) == {
        "base",
        "child",
        "newer",
        "other",
    }
    await records.runs.delete("base", LATE)


async def test_retention_passes_over_what_is_needed_meanwhile(records: Records, time: Time) -> None:
    """A run that somebody starts from in the moment of its end stays, and the others go."""
    for uid in ("base", "old"):
        await ended(records, uid)

    class Meanwhile:
        """Has a run made between the question what is old and the deletion."""

        def __getattr__(self, name: str) -> object:
            return getattr(records.keeping, name)

        async def expired_runs(self, *arguments: Any, **options: Any) -> object:
            found = await records.keeping.expired_runs(*arguments, **options)
            await records.runs.create(a_run("child", **USES["its weights"]))
            return sorted(found)

    housekeeping = Housekeeping(
        keeping=Meanwhile(),  # type: ignore[arg-type]  # the records' own, but for one method
        events=records.events,
        runs=records.runs,
        store=MemoryStore(),
        clock=ManualClock(),
        limits=KeepingLimits(runs=RunLife(timedelta(days=-1))),
    )
    await housekeeping.round()
    assert (await records.runs.get("demo", "base")).init_from == ""
    with pytest.raises(NotFound):
        await records.runs.get("demo", "old")
