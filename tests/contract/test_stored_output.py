"""The output of a run, from the trainer's reports to answers that fit into a message."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from linnet.v1 import run_pb2, runner_service_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_gateway.reconciling.housekeeping import Housekeeping, KeepingLimits
from linnet_gateway.records import RunRecord
from linnet_gateway.runs.watching import Watching
from linnet_gateway.sql.store import Records
from linnet_gateway.tail import EventTail

from tests.fakes.clock import ManualClock
from tests.fakes.objectstore import MemoryStore
from tests.fakes.records import T0, a_report, begun

MEBIBYTE = 1024 * 1024


async def printed(records: Records, run: RunRecord, texts: Sequence[str], together: int) -> None:
    """Report lines, some at a time."""
    for first in range(1, len(texts) + 1, together):
        some = texts[first - 1 : first - 1 + together]
        entries = runner_service_pb2.LogEntries(
            entries=[
                run_pb2.LogEntry(attempt=1, sequence=first + i, text=text)
                for i, text in enumerate(some)
            ]
        )
        report = a_report(run, first, len(some), entries=entries.SerializeToString(), epochs={})
        await records.trainings.store_reports([report], T0)


async def answers(
    records: Records, store: MemoryStore, token: str = ""
) -> list[pb.StreamLogResponse]:
    """Read the whole log."""
    tail = EventTail(records.events, idle_s=lambda: 1.0)
    watching = Watching(records.runs, records.trainings, records.events, store, tail)
    return [
        pb.StreamLogResponse(entries=update.entries, resume_token=update.token, end=update.end)
        async for update in watching.log("demo", "u1", token, follow=False)
    ]


def housekeeping(records: Records, store: MemoryStore) -> Housekeeping:
    return Housekeeping(
        keeping=records.keeping,
        events=records.events,
        runs=records.runs,
        store=store,
        clock=ManualClock(),
        limits=KeepingLimits(chunk_age=timedelta(days=1000)),
    )


@pytest.mark.parametrize("archived", [False, True])
async def test_long_lines_are_answered_in_messages_that_can_be_sent(
    records: Records, archived: bool
) -> None:
    """A thousand lines of 9,000 characters come whole, 1 MiB at a time, from any token."""
    run, store = await begun(records), MemoryStore()
    texts = [f"{i}" + "ü" * 9000 for i in range(1000)]
    await printed(records, run, texts, together=150)
    if archived:
        await housekeeping(records, store).round()
        assert await records.events.log("u1", (0, 0), 1) == []
        sizes = [info.size_bytes for info in store.list("")]
        assert len(sizes) > 4
        assert max(sizes) < 8 * MEBIBYTE
    found = await answers(records, store)
    assert [e.text for answer in found for e in answer.entries] == texts
    assert max(answer.ByteSize() for answer in found) < 1.1 * MEBIBYTE
    assert found[-1].end
    middle = found[len(found) // 2]
    rest = await answers(records, store, middle.resume_token)
    assert rest[0].entries[0].sequence == middle.entries[-1].sequence + 1


async def test_many_short_lines_come_in_few_messages(records: Records) -> None:
    """A thousand lines an answer, also where each was reported by itself."""
    run, store = await begun(records), MemoryStore()
    await printed(records, run, ["."] * 1500, together=5)
    assert len(await answers(records, store)) <= 5


async def test_reads_of_events_end_at_a_mebibyte_but_give_one(records: Records) -> None:
    """What one trainer reports is bounded, what is read of many reports is too."""
    run = await begun(records)
    await printed(records, run, ["x" * 600_000] * 3 + ["x" * 3_000_000] * 2, together=1)
    assert [e.first for e in await records.events.log("u1", (0, 0), 100)] == [1, 2]
    assert [e.first for e in await records.events.log("u1", (1, 3), 100)] == [4]


async def test_a_line_that_fits_into_no_message_is_cut(records: Records) -> None:
    """The lines around it come whole."""
    run, store = await begun(records), MemoryStore()
    await printed(records, run, ["a", "x" * 7_900_000, "b"], together=1)
    first, cut, last = [e for answer in await answers(records, store) for e in answer.entries]
    assert (first.text, last.text) == ("a", "b")
    assert cut.text == "x" * (len(cut.text) - 1) + "…"
    assert len(cut.text) > 100_000
