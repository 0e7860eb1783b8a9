"""Runs in the records, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from linnet_gateway.api.pagination import Pager
from linnet_gateway.converters import run_message
from linnet_gateway.queries import Page, RunFilter
from linnet_gateway.records import (
    BatchRecord,
    FileRecord,
    RunRecord,
)
from linnet_gateway.sql import run_lists
from linnet_gateway.sql.store import Records
from linnet_gateway.states import BatchState, RunState
from linnet_runtime.errors import AlreadyExists, InvalidInput, NotAllowedInState

from tests.fakes.records import FAILURE, T0, a_report, a_run, begun


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


async def test_text_that_can_not_be_stored_is_bad_input(records: Records) -> None:
    """A NUL in a title comes back or is refused as bad input: nobody is told to try again."""
    run = a_run(display_name="a\0b")
    if records.single:
        await records.runs.create(run)
        assert await records.runs.get("demo", "u1") == run
        return
    with pytest.raises(InvalidInput) as caught:
        await records.runs.create(run)
    assert caught.value.reason == "UNSTORABLE_VALUE"
    with pytest.raises(InvalidInput):
        await records.runs.list("demo", Page(1), RunFilter(dataset="a\0b"))


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
        (RunFilter(), {*"abcde"}),
        (RunFilter(states=frozenset({RunState.QUEUED})), {*"abcde"}),
        (RunFilter(states=frozenset({RunState.FAILED})), set()),
        (RunFilter(labels={"line": "3"}), {"a"}),
        (RunFilter(labels={"line": "3", "x": "y"}), set()),
        (RunFilter(labels={"li": "ne"}), set()),
        (RunFilter(labels={"100%": '"_'}), {"b"}),
        (RunFilter(labels={"Line": "a3"}), {"d"}),
        (RunFilter(labels={"line": "a3"}), set()),
        (RunFilter(labels={"Line": "A3"}), set()),
        (RunFilter(labels={'x"line': "3"}), {"e"}),
        (RunFilter(labels={"z": ", "}), {"e"}),
        (RunFilter(labels={"line": "3"}, dataset="watch"), {"a"}),
        (RunFilter(labels={"line": "3"}, dataset="other"), set()),
        (RunFilter(dataset="other"), {"c"}),
        (RunFilter(batch="b1"), {"d"}),
        (RunFilter(batch="b1", states=frozenset({RunState.QUEUED})), {"d"}),
        (RunFilter(batch="b1", states=frozenset({RunState.FAILED})), set()),
        (RunFilter(batch="none"), set()),
        (RunFilter(states=frozenset({RunState.QUEUED, RunState.FAILED})), {*"abcde"}),
    ],
)
async def test_filters_choose_exactly(
    records: Records, which: RunFilter, expected: set[str]
) -> None:
    """Labels match as whole pairs, whatever characters they hold."""
    await records.runs.create(a_run("a", labels={"line": "3"}))
    await records.runs.create(a_run("b", labels={"line": "33", "100%": '"_'}))
    await records.runs.create(a_run("c", dataset="other", labels={"x": '"line": "3"'}))
    await records.batches.create(BatchRecord("u-b1", "demo", "b1", T0, BatchState.FILLING))
    member = a_run("d", batch_uid="u-b1", batch_id="b1", labels={"Line": "a3"})
    await records.batches.add("u-b1", [member], 0)
    await records.runs.create(a_run("e", labels={'x"line': "3", "y": "line", "z": ", "}))
    await records.runs.create(a_run("f", project="other", labels={"line": "3"}))
    found = await records.runs.list("demo", Page(10), which)
    assert {run.uid for run in found} == expected
    assert found.reached is None


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_rare_runs_are_looked_for_some_at_a_time(
    records: Records, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Pages that end before they are full say where to go on, and together hold each run once."""
    monkeypatch.setattr(run_lists, "_SCANNED", 4)
    for i in range(30):
        labels = {"rare": "yes"} if i % 7 == 0 else {}
        await records.runs.create(
            a_run(f"u{i:02}", spec=b"", labels=labels, create_time=T0 + timedelta(seconds=i // 4))
        )
    pager = Pager(b"key")
    found: list[str] = []
    token, pages = "", 0
    while pages == 0 or token:
        part, token = await pager.page(
            size,
            token,
            ("runs", "demo"),
            partial(records.runs.list, "demo", which=RunFilter(labels={"rare": "yes"})),
            run_message,
        )
        assert len(part) <= size
        found += [run.uid for run in part]
        pages += 1
    assert found == ["u28", "u21", "u14", "u07", "u00"]
    assert pages >= 30 // 4


async def test_pages_of_a_state_and_of_a_batch_give_every_run_once(records: Records) -> None:
    """Whatever index is used, and whatever runs lie between."""
    await records.batches.create(BatchRecord("u-b1", "demo", "b1", T0, BatchState.FILLING))
    runs = [
        a_run(f"u{i:02}", batch_uid="u-b1", batch_id="b1", batch_index=i, create_time=T0)
        for i in range(9)
    ]
    await records.batches.add("u-b1", runs, 0)
    for i in (1, 4, 6, 8):
        await records.runs.change(f"u{i:02}", lambda r: replace(r, state=RunState.FAILED))
    for which, expected in (
        (RunFilter(states=frozenset({RunState.FAILED})), ["u08", "u06", "u04", "u01"]),
        (RunFilter(states=frozenset({RunState.QUEUED})), ["u07", "u05", "u03", "u02", "u00"]),
        (RunFilter(batch="b1"), [f"u{i:02}" for i in reversed(range(9))]),
    ):
        found: list[RunRecord] = []
        page = Page(2)
        while part := await records.runs.list("demo", page, which):
            found += part
            page = Page(2, (part[-1].create_time, part[-1].uid))
        assert [run.uid for run in found] == expected
