"""How work is committed: together, each with its own outcome, whichever way it is done."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from linnet_gateway.sql.store import Records
from linnet_runtime.errors import Internal, InvalidInput, Unavailable
from sqlalchemy import Connection, text

PREFIXES = "SELECT prefix FROM doomed_objects ORDER BY prefix"


def add(name: str, *, refuse: bool = False) -> Callable[[Connection], str]:
    """Give work that adds a row, and refuses after that if it is to."""

    def work(connection: Connection) -> str:
        connection.execute(
            text("INSERT INTO doomed_objects (prefix, create_time) VALUES (:p, 0)"), {"p": name}
        )
        if refuse:
            raise InvalidInput.of("name", f"{name} is refused")
        return name

    return work


async def found(records: Records) -> list[str]:
    """Read the names of the rows that were added."""
    return await records.database.read(lambda c: list(c.execute(text(PREFIXES)).scalars()))


async def test_brief_and_other_work_side_by_side(records: Records) -> None:
    """Each is answered with its own result or refusal, and nothing of a refusal stays."""
    writes = [
        records.database.write(add(f"{number:03}", refuse=number % 7 == 3), brief=number % 3 != 0)
        for number in range(300)
    ]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 7 == 3:
            assert isinstance(outcome, InvalidInput)
            assert outcome.message.endswith(f"{number:03} is refused")
        else:
            assert outcome == f"{number:03}"
    assert await found(records) == [f"{n:03}" for n in range(300) if n % 7 != 3]


async def test_a_refusal_costs_nobody_else_a_second_turn(records: Records) -> None:
    """Brief work that refuses before it changes anything is answered with what the rest did."""
    if not records.database.is_sqlite:
        pytest.skip("PostgreSQL undoes a transaction as a whole")
    done = 0

    def counted(connection: Connection) -> None:
        nonlocal done
        done += 1
        add(f"{done}")(connection)

    def refuse(_: Connection) -> None:
        raise InvalidInput.of("name", "refused")

    works = [counted if number != 7 else refuse for number in range(20)]
    writes = [records.database.write(work, brief=True) for work in works]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(o, InvalidInput) for o in outcomes] == [n == 7 for n in range(20)]
    assert done == len(await found(records)) == 19


async def test_callers_on_several_event_loops(records: Records) -> None:
    """Whoever has another loop than the first is answered on its own."""
    assert await records.database.write(add("a"), brief=True) == "a"
    other = asyncio.to_thread(asyncio.run, records.database.write(add("b"), brief=True))
    mine = records.database.write(add("c"), brief=True)
    assert list(await asyncio.gather(other, mine)) == ["b", "c"]
    assert await found(records) == ["a", "b", "c"]


@pytest.mark.parametrize("brief", [True, False])
async def test_a_fault_that_goes_on_is_told_and_forgotten(records: Records, brief: bool) -> None:
    """What can't be done is unavailable; what comes after it is done."""

    def impossible(connection: Connection) -> None:
        connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

    refused, made = await asyncio.gather(
        records.database.write(impossible, brief=brief),
        records.database.write(add("a"), brief=brief),
        return_exceptions=True,
    )
    assert isinstance(refused, Unavailable)
    assert made == "a"
    assert await records.database.write(add("b"), brief=brief) == "b"


async def test_brief_work_whose_commit_fails_is_done_again(records: Records) -> None:
    """A connection that breaks before the commit costs nobody an answer."""
    broken = 0

    def breaks(connection: Connection) -> str:
        nonlocal broken
        broken += 1
        made = add("a")(connection)
        if broken == 1:
            connection.connection.dbapi_connection.close()
        return made

    assert await records.database.write(breaks, brief=True) == "a"
    assert broken == 2
    assert await found(records) == ["a"]


async def test_closing_ends_what_was_begun(records: Records) -> None:
    """What waits for its turn when the records are closed is committed."""
    writes = [
        asyncio.ensure_future(records.database.write(add(f"{number}"), brief=number < 5))
        for number in range(9)
    ]
    await asyncio.sleep(0)
    url = records.database._reader.url.render_as_string(hide_password=False)
    records.close()
    assert sorted(await asyncio.gather(*writes)) == [f"{number}" for number in range(9)]
    again = Records(url, lambda: datetime.now(UTC))
    assert len(await found(again)) == 9
    again.close()


async def test_another_process_that_writes_never_stops_the_event_loop(
    records: Records, url: str
) -> None:
    """Work waits for SQLite's lock on the thread, and is done when it is free."""
    if not records.database.is_sqlite:
        pytest.skip("PostgreSQL's writers wait for each other in the server")
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [records.database.write(add(f"{n}"), brief=True) for n in range(3)]
    waiting = asyncio.gather(*writes)
    longest, last = 0.0, time.monotonic()
    for _ in range(100):
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    assert list(await waiting) == ["0", "1", "2"]
    assert longest < 0.5


@pytest.mark.parametrize("brief", [True, False])
async def test_what_is_no_exception_ends_its_own_work_only(records: Records, brief: bool) -> None:
    """Whatever work raises, the next is done."""

    def cancelled(_: Connection) -> None:
        raise asyncio.CancelledError

    async with asyncio.timeout(30):
        with pytest.raises(Internal):
            await records.database.write(cancelled, brief=False)
        assert await records.database.write(add("a"), brief=brief) == "a"


async def test_nothing_waits_for_closed_records(records: Records) -> None:
    """A write after the end is refused at once."""
    records.close()
    with pytest.raises(Unavailable):
        await records.database.write(add("a"))
