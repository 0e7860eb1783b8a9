"""A batch that is filled while the reconciler looks at it is not taken for finished."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from linnet_gateway.records import BatchRecord
from linnet_gateway.sql import migrate
from linnet_gateway.states import BatchState

from tests.fakes.faults import Faults
from tests.fakes.killable import Gateway
from tests.fakes.lasting_world import World
from tests.fakes.records import T0, a_run


async def test_filling_between_two_reads_of_a_step_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that saw the batch empty, before its runs were added, leaves it running."""
    migrate.upgrade(f"sqlite:///{tmp_path / 'records.db'}")
    gateway = Gateway(World(tmp_path, 0), Faults())
    batches = gateway.records.batches
    await batches.create(BatchRecord("b1", "demo", "b", T0, BatchState.FILLING))
    stale = await batches.live()
    await batches.add("b1", [a_run(batch_uid="b1", batch_id="b")], 0)
    await batches.change("b1", lambda b: replace(b, state=BatchState.RUNNING))

    async def read_before() -> Sequence[BatchRecord]:
        return stale

    monkeypatch.setattr(batches, "live", read_before)
    await gateway.reconciler.step()
    state = (await batches.get_uid("b1")).state
    await gateway.close()
    assert state is BatchState.RUNNING
