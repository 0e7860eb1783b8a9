"""Why a trainer ended is known to whichever replica hands out its run again."""

from datetime import timedelta
from typing import Any

from linnet_gateway.launches.launcher import Launch
from linnet_gateway.launches.launching import Launching, ReconcilerLimits
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


def launching(launcher: FakeLauncher) -> Launching:
    """Make one that has taken no step yet, as on a replica that does not lead."""
    records: Any = None
    return Launching(
        runs=records,
        launches=records,
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
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    found = await launching(launcher).crash_of("l1", 0)
    assert found is not None
    assert found.reason is FailureReason.OUT_OF_MEMORY
    assert await launching(launcher).crash_of("l1", 1) is None
    assert await launching(launcher).crash_of("l2", 0) is None


async def test_trainers_go_on_while_the_launcher_is_away() -> None:
    """Nothing is known then, which is no error."""
    launcher = FakeLauncher()
    await launcher.launch(LAUNCH)
    launcher.finish("l1", 0, ExitCode.OUT_OF_MEMORY)
    launcher.down = True
    assert await launching(launcher).crash_of("l1", 0) is None
