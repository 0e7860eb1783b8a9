"""How work is committed: together, each with its own outcome, whichever way it is done."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from linnet_gateway.sql.store import Records
from linnet_runtime.errors import InvalidInput, Unavailable
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
