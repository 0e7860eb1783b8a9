"""Trainers that outlive their gateway, and how a clean stop ends them.

The gateway's process launcher lets trainers live on when it dies, so that a crash costs no work. It
keeps a folder for each shard, in which the trainer holds the lock of `lock` for as long as it lives
and `pid` names its process group. When local mode is stopped on purpose, nothing may run on: each
trainer is asked to save a checkpoint and end, and the next start goes on from there.
"""

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_SHARDS = "*/*/lock"
_POLL_S = 0.05


def living(launches: Path) -> list[Path]:
    """Give the folders of shards whose trainer lives."""
    return [lock.parent for lock in sorted(launches.glob(_SHARDS)) if _is_held(lock)]


def end(launches: Path, *, grace_s: float) -> int:
    """End every trainer, kindly and then by force; blocking. Gives how many there were."""
    found = living(launches)
    for shard in found:
        _signal(shard, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while living(launches) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for shard in living(launches):
        _signal(shard, signal.SIGKILL)
    return len(found)


def _signal(shard: Path, number: signal.Signals) -> None:
    with suppress(OSError, ValueError):
        os.killpg(int((shard / "pid").read_text()), number)


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
