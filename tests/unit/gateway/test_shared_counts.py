"""However many watch a batch, its runs are counted twice a second, and nobody sees what was."""

import asyncio

from linnet_gateway.batches.shared_counts import SharedCounts
from linnet_gateway.records import BatchCounts
from linnet_gateway.states import RunState

from tests.fakes.clock import ManualClock


class Counted:
    """Batches whose counts tell how often they were read."""

    def __init__(self) -> None:
        self.reads = 0
        self.begun = asyncio.Event()

    async def counts(self, _uid: str) -> BatchCounts:
        self.reads += 1
        self.begun.set()
        read = self.reads
        await asyncio.sleep(0)
        return BatchCounts({RunState.QUEUED: read}, {}, {})


def seen(counts: BatchCounts) -> int:
    return counts.states[RunState.QUEUED]


async def test_all_who_ask_meanwhile_share_one_read() -> None:
    """A hundred at once cost one; who asks while it is read gets the next, half a second later."""
    batches, clock = Counted(), ManualClock()
    shared = SharedCounts(batches, clock)  # type: ignore[arg-type]  # what it needs of them
    first = [asyncio.create_task(shared.next("b")) for _ in range(100)]
    await batches.begun.wait()
    begun = clock.monotonic()
    late = [asyncio.create_task(shared.next("b")) for _ in range(100)]
    assert {seen(counts) for counts in await asyncio.gather(*first)} == {1}
    assert {seen(counts) for counts in await asyncio.gather(*late)} == {2}
    assert clock.monotonic() - begun >= 0.5
    assert batches.reads == 2


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    """A watcher that is cancelled leaves the read to those who wait for it."""
    batches = Counted()
    shared = SharedCounts(batches, ManualClock())  # type: ignore[arg-type]  # what it needs of them
    leaving, staying = (asyncio.create_task(shared.next("b")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert seen(await staying) == 1
    assert seen(await shared.next("other")) == 2
