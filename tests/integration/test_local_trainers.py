"""A clean stop of local mode ends the trainers that the gateway's launcher started."""

import sys
import time
from pathlib import Path

import pytest
from linnet_gateway.process.shard import Shard
from linnet_sdk.local import trainers

OBEDIENT = "import time; print('ready', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); " + OBEDIENT


def start(launches: Path, program: str) -> Shard:
    """Start a trainer as the gateway does, and wait until it runs."""
    shard = Shard(launches / "launch-1" / "0", 0, retries=3)
    shard.start([sys.executable, "-c", program], {"PATH": "/usr/bin:/bin"})
    deadline = time.monotonic() + 20
    while not (shard.output.exists() and "ready" in shard.output.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return shard


@pytest.mark.parametrize(("program", "code"), [(OBEDIENT, "143"), (STUBBORN, "")])
def test_trainers_are_ended(tmp_path: Path, program: str, code: str) -> None:
    """A living trainer is found and asked to end; one that does not is killed."""
    shard = start(tmp_path, program)
    exit_file = tmp_path / "launch-1" / "0" / "exit"

    assert trainers.living(tmp_path) == [tmp_path / "launch-1" / "0"]
    assert trainers.end(tmp_path, grace_s=10.0 if code else 0.3) == 1

    deadline = time.monotonic() + 10
    while shard.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not shard.alive()
    assert (exit_file.read_text() if exit_file.exists() else "") == code


def test_nothing_is_ended_where_nothing_lives(tmp_path: Path) -> None:
    """Folders of trainers that are gone, and no folders at all, are passed over."""
    assert trainers.end(tmp_path / "none", grace_s=0.1) == 0
    (tmp_path / "launch-1" / "0").mkdir(parents=True)
    (tmp_path / "launch-1" / "0" / "lock").touch()

    assert trainers.end(tmp_path, grace_s=0.1) == 0
