"""A dataset that was deleted and made anew under its name is another one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from linnet_gateway.datasets.of_run import dataset_of
from linnet_gateway.states import FailureReason, RunState
from linnet_runtime.errors import NotFound

from tests.fakes.gateway import a_spec
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import a_run

SPEC = a_spec(2).SerializeToString()
HOUR = timedelta(hours=1)


async def test_a_run_is_not_trained_on_what_took_its_datasets_place(
    world: World, gateway: Gateway
) -> None:
    """It fails, naming the dataset and when it was the right one; nothing is handed out."""
    await gateway.records.runs.create(a_run("u1", spec=SPEC))
    old = await gateway.records.datasets.get("demo", "watch")
    await gateway.reconciler.step()
    # The records refuse this while the run lives; a database that was restored may hold it.
    made = old.create_time + HOUR
    await gateway.records.datasets.change("d1", lambda d: replace(d, create_time=made))
    await world.step_trainers(gateway)
    run = await gateway.records.runs.get_uid("u1")
    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.reason is FailureReason.INVALID_DATA
    assert "projects/demo/datasets/watch as it was at 2026-11-01 12:00" in run.failure.message


async def test_a_retry_uses_what_the_first_try_used(world: World, gateway: Gateway) -> None:
    """It counts when the first run was made, however late the retry is."""
    records = gateway.records
    first = a_run("u1", spec=SPEC)
    again = a_run("u2", spec=SPEC, retry_of="u1", create_time=first.create_time + 3 * HOUR)
    await records.runs.create(first)
    await records.runs.create(again)
    assert (await dataset_of(again, records.datasets, records.runs)).uid == "d1"
    made = first.create_time + HOUR
    await records.datasets.change("d1", lambda d: replace(d, create_time=made))
    with pytest.raises(NotFound):
        await dataset_of(again, records.datasets, records.runs)
