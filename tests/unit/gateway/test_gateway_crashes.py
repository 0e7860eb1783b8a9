"""Why a trainer ended is known to whichever replica hands out its run again."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from linnet_gateway.launches.launcher import Launch, ShardState
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import FailureReason
from linnet_gateway.trainers.tokens import Tokens
from linnet_runtime.lifecycle import ExitCode

from tests.fakes.clock import ManualClock
from tests.fakes.launcher import FakeLauncher

LAUNCH = Launch(
    uid="l1",
    project="demo",
    shard_count=2,
    parallelism=2,
    token="t",
    deadline=None,
    cpu_millis=100,
    memory_bytes=1,
    expert=False,
    labels={},
    spec_digest="d",
)


def launching(launcher: FakeLauncher, launches: Any = None) -> Launching:
    """Make one that has taken no step yet, as on a replica that does not lead."""
    records: Any = None
    return Launching(
        runs=records,
        launches=launches,
        launcher=launcher,
        tokens=Tokens(b"k" * 32),
        clock=ManualClock(),
        limits=ReconcilerLimits(orphan_grace=timedelta(seconds=1)),
        last_lines=records,
    )


async def test_a_crash_that_no_step_saw_is_asked_for() -> None:
    """The launcher says why the trainer of one shard ended; of the other there is nothing."""
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    ended = launcher.trainers["l1", 0]
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    for name in (ended, ""):
        found = await launching(launcher).crash_of("l1", 0, name)
        assert found is not None
        assert found.reason is FailureReason.OUT_OF_MEMORY
    assert await launching(launcher).crash_of("l1", 1, "") is None
    assert await launching(launcher).crash_of("l2", 0, "") is None


async def test_what_ended_one_trainer_is_not_told_of_the_next() -> None:
    """The launcher keeps the latest failure of a shard; it says nothing of who came after it."""
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    first = launcher.trainers["l1", 0]
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    second = launcher.trainers["l1", 0]
    follower = launching(launcher)
    assert await follower.crash_of("l1", 0, second) is None
    launcher.finish("l1", 0, ExitCode.CRASHED)
    # The copy of an earlier look lacks it: the launcher is asked anew, and tells both apart.
    for name, reason in (
        (second, FailureReason.TRAINER_CRASHED),
        (first, FailureReason.OUT_OF_MEMORY),
    ):
        found = await follower.crash_of("l1", 0, name)
        assert found is not None
        assert found.reason is reason


async def test_a_replica_that_does_not_lead_remembers_what_can_be_seen_no_more() -> None:
    """An evicted pod is gone by the time that the next trainer asks this replica."""
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    first = launcher.trainers["l1", 0]
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    follower = launching(launcher)
    await follower.look()
    launcher.down = True
    assert await follower.crash_of("l1", 0, first) is not None


async def test_trainers_go_on_while_the_launcher_is_away() -> None:
    """Nothing is known then, which is no error."""
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    launcher.down = True
    assert await launching(launcher).crash_of("l1", 0, "") is None


async def test_a_shard_between_two_trainers_tells_what_ended_the_first(tmp_path: Path) -> None:
    """The first one's silence has a cause, that of the trainer after it has none.

    Of a trainer that said no name it is the cause while nobody runs.
    """
    url = f"sqlite:///{tmp_path / 'records.db'}"
    migrate.upgrade(url)
    records = Records(url, ManualClock().now)
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    first = launcher.trainers["l1", 0]
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    running = launcher.shards["l1"][0]
    assert running.state is ShardState.RUNNING
    compared = launching(launcher, records.launches)
    await compared.compare()
    assert compared.crash_behind("l1", 0, launcher.trainers["l1", 0]) is None
    assert compared.crash_behind("l1", 0, "") is None
    launcher.shards["l1"][0] = replace(running, state=ShardState.PENDING)
    await compared.compare()
    for name in (first, ""):
        found = compared.crash_behind("l1", 0, name)
        assert found is not None
        assert found.reason is FailureReason.OUT_OF_MEMORY
    records.close()
