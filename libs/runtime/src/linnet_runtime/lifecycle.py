"""How processes end: exit codes and signals."""

import asyncio
import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of a trainer process; the Job's podFailurePolicy is keyed on them."""

    OK = 0
    CRASHED = 1
    """An unexpected error; retried."""
    USAGE = 64
    """Wrong command line or settings; not retried."""
    BAD_DATA = 65
    """The launch's data can't be used by any run of the shard; not retried."""
    UNAVAILABLE = 69
    """Gateway or store could not be reached for too long; retried."""
    CHECKPOINT_LOST = 75
    """Asked to stop and could not save a checkpoint; retried."""
    BAD_CONFIG = 78
    """The launch itself is wrong, such as a refused token; not retried."""
    OUT_OF_MEMORY = 137
    """Killed by the kernel; charged to the run in progress."""
    TERMINATED = 143
    """Asked to stop; the checkpoint is saved."""


async def until_terminated() -> signal.Signals:
    """Wait for SIGTERM or SIGINT on the running loop and say which came."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[signal.Signals] = loop.create_future()

    def arrived(which: signal.Signals) -> None:
        if not came.done():
            came.set_result(which)

    for which in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(which, arrived, which)
    try:
        return await came
    finally:
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(which)
