"""What every launcher keeps, on the fake and on the process adapter."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from linnet_gateway.launches.launcher import LaunchStatus, ShardState
from linnet_gateway.states import FailureReason
from linnet_runtime.errors import AlreadyExists

from tests.fakes.gateway import until
from tests.support.launcher_adapters import (
    Adapter,
    FakeAdapter,
    ProcessAdapter,
    a_launch,
)

REMOVAL_S = 10.0
"""How soon after a stop nothing of a launch is left; trainers here end at once."""


@pytest.fixture(params=["fake", "process"])
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Adapter]:
    if request.param == "fake":
        yield FakeAdapter()
        return
    made = ProcessAdapter(tmp_path / "launches")
    yield made
    await made.close()


async def status(adapter: Adapter, uid: str) -> LaunchStatus | None:
    return (await adapter.launcher.statuses()).get(uid)


async def until_running(adapter: Adapter, uid: str, shards: list[int]) -> None:
    async def same() -> bool:
        return await adapter.running(uid) == shards

    await until(same)


async def until_ended(adapter: Adapter, uid: str) -> LaunchStatus:
    found: list[LaunchStatus] = []

    async def ended() -> bool:
        now = await status(adapter, uid)
        if now is not None and now.ended:
            found.append(now)
        return bool(found)

    await until(ended)
    return found[0]


async def test_a_launch_runs_each_shard_once_and_ends(adapter: Adapter) -> None:
    """Every shard's trainer starts; when all ended with 0 the launch has ended, none failed."""
    await adapter.launcher.launch(a_launch(shard_count=2, parallelism=2))
    await until_running(adapter, "l-one", [0, 1])
    await adapter.finish("l-one", 0, 0)
    await adapter.finish("l-one", 1, 0)
    ended = await until_ended(adapter, "l-one")
    assert [s.state for s in ended.shards] == [ShardState.SUCCEEDED] * 2
    assert ended.failure is None


async def test_the_same_launch_again_starts_nothing(adapter: Adapter) -> None:
    """Launching is idempotent: the second call leaves the one trainer as it is."""
    await adapter.launcher.launch(a_launch())
    await until_running(adapter, "l-one", [0])
    await adapter.launcher.launch(a_launch())
    assert await adapter.running("l-one") == [0]
    assert list(await adapter.launcher.statuses()) == ["l-one"]


async def test_another_digest_under_the_same_uid_is_refused(adapter: Adapter) -> None:
    """A uid that is taken by something else is an error, and the first launch goes on."""
    await adapter.launcher.launch(a_launch())
    await until_running(adapter, "l-one", [0])
    with pytest.raises(AlreadyExists):
        await adapter.launcher.launch(replace(a_launch(), spec_digest="e" * 64))
    assert await adapter.running("l-one") == [0]


async def test_no_more_shards_run_than_parallelism(adapter: Adapter) -> None:
    """A third shard waits until one of the two that run has ended."""
    await adapter.launcher.launch(a_launch(shard_count=3, parallelism=2))
    await until_running(adapter, "l-one", [0, 1])
    await adapter.finish("l-one", 0, 0)
    await until_running(adapter, "l-one", [1, 2])


async def test_more_parallelism_lets_more_shards_run(adapter: Adapter) -> None:
    """The same launch with a higher parallelism starts the shards that waited."""
    await adapter.launcher.launch(a_launch(shard_count=3, parallelism=1))
    await until_running(adapter, "l-one", [0])
    await adapter.launcher.launch(a_launch(shard_count=3, parallelism=3))
    await until_running(adapter, "l-one", [0, 1, 2])


async def test_a_crashed_trainer_is_started_again(adapter: Adapter) -> None:
    """A retryable exit code brings the shard back, with the failure told."""
    await adapter.launcher.launch(a_launch())
    await until_running(adapter, "l-one", [0])
    await adapter.finish("l-one", 0, 1)

    async def failure_told() -> bool:
        now = await status(adapter, "l-one")
        return now is not None and bool(now.shards) and now.shards[0].failure is not None

    await until(failure_told)
    await until_running(adapter, "l-one", [0])
    now = await status(adapter, "l-one")
    assert now is not None
    assert now.shards[0].failure is not None
    assert now.shards[0].failure.reason is FailureReason.TRAINER_CRASHED
    assert now.shards[0].failure.exit_code == 1


async def test_the_end_of_one_trainer_leaves_the_others(adapter: Adapter) -> None:
    """A trainer that is killed is followed by another of its shard; its neighbour lives on.

    That it is to be killed may come late: what took its place is another one.
    """
    await adapter.launcher.launch(a_launch(shard_count=2, parallelism=2))
    await until_running(adapter, "l-one", [0, 1])
    before = [await adapter.name("l-one", index) for index in (0, 1)]
    await adapter.launcher.end_trainer("l-one", 1, before[1])

    async def replaced() -> bool:
        running = await adapter.running("l-one") == [0, 1]
        return running and await adapter.name("l-one", 1) != before[1]

    await until(replaced)
    after = await adapter.name("l-one", 1)
    for late in (("l-one", 1, before[1]), ("l-one", 2, ""), ("l-none", 0, "")):
        await adapter.launcher.end_trainer(*late)
    assert await adapter.running("l-one") == [0, 1]
    assert [await adapter.name("l-one", index) for index in (0, 1)] == [before[0], after]


async def test_each_trainer_has_a_name_by_which_its_end_is_told(adapter: Adapter) -> None:
    """The ends of a shard's trainers are kept apart; of the one that lives there is none."""
    await adapter.launcher.launch(a_launch())
    names: list[str] = []

    async def another() -> bool:
        running = await adapter.running("l-one") == [0]
        if running and (name := await adapter.name("l-one", 0)) not in names:
            names.append(name)
            return True
        return False

    for code in (3, 1):
        await until(another)
        await adapter.finish("l-one", 0, code)
    await until(another)
    now = await status(adapter, "l-one")
    assert now is not None
    ended = now.shards[0].ended
    assert {name: end.exit_code for name, end in ended.items()} == {names[0]: 3, names[1]: 1}
    assert 0 < len(names[2]) <= 64


@pytest.mark.parametrize("exit_code", [64, 65, 78])
async def test_a_hopeless_exit_code_is_final(adapter: Adapter, exit_code: int) -> None:
    """Codes that mean "do not retry" fail the shard at once; the other shard goes on."""
    await adapter.launcher.launch(a_launch(shard_count=2, parallelism=2))
    await until_running(adapter, "l-one", [0, 1])
    await adapter.finish("l-one", 0, exit_code)

    async def failed() -> bool:
        now = await status(adapter, "l-one")
        return now is not None and any(s.state is ShardState.FAILED for s in now.shards)

    await until(failed)
    assert await adapter.running("l-one") == [1]
    await adapter.finish("l-one", 1, 0)
    ended = await until_ended(adapter, "l-one")
    assert [s.state for s in ended.shards] == [ShardState.FAILED, ShardState.SUCCEEDED]
    failure = ended.shards[0].failure
    assert failure is not None
    assert failure.exit_code == exit_code


async def until_nothing_remains(adapter: Adapter, uid: str) -> None:
    async def nothing() -> bool:
        return not await adapter.remains(uid)

    await until(nothing, REMOVAL_S)


async def test_stop_leaves_nothing_running_and_forgets(adapter: Adapter) -> None:
    """After a stop no trainer lives and the launch is gone; stopping again does no harm."""
    await adapter.launcher.launch(a_launch(shard_count=2, parallelism=2))
    await until_running(adapter, "l-one", [0, 1])
    assert await adapter.remains("l-one")
    await adapter.launcher.stop("l-one")

    async def gone() -> bool:
        return await status(adapter, "l-one") is None

    await until(gone)
    assert await adapter.running("l-one") == []
    await until_nothing_remains(adapter, "l-one")
    await adapter.launcher.stop("l-one")


async def test_stop_removes_a_launch_that_ended_by_itself(adapter: Adapter) -> None:
    """Nothing is kept of a cancelled launch, also where its trainer was the first to end it."""
    await adapter.launcher.launch(a_launch())
    await until_running(adapter, "l-one", [0])
    await adapter.finish("l-one", 0, 0)
    await until_ended(adapter, "l-one")
    assert await adapter.remains("l-one")
    await adapter.launcher.stop("l-one")
    await until_nothing_remains(adapter, "l-one")
    assert await status(adapter, "l-one") is None


async def test_stop_touches_no_other_launch(adapter: Adapter) -> None:
    """Stopping one launch leaves the trainers of another alone."""
    await adapter.launcher.launch(a_launch("l-one"))
    await adapter.launcher.launch(a_launch("l-two"))
    await until_running(adapter, "l-one", [0])
    await until_running(adapter, "l-two", [0])
    await adapter.launcher.stop("l-one")
    await until_running(adapter, "l-one", [])
    assert await adapter.running("l-two") == [0]


async def test_changes_name_the_launch_that_ended(adapter: Adapter) -> None:
    """Somebody who listens hears of a launch whose trainer ended."""
    heard: list[str] = []

    async def listen() -> None:
        async for uid in adapter.launcher.changes():
            heard.append(uid)  # noqa: PERF401 - the loop never ends

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await adapter.launcher.launch(a_launch())
    await until_running(adapter, "l-one", [0])
    heard.clear()
    await adapter.finish("l-one", 0, 0)

    async def told() -> bool:
        return "l-one" in heard

    await until(told)
    listener.cancel()


async def test_ping_succeeds_where_launches_can_be_made(adapter: Adapter) -> None:
    """A launcher that works says so by raising nothing."""
    await adapter.launcher.ping()
