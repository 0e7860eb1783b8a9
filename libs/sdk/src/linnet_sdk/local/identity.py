"""Which process a pid means: pids are used again, a pid with its start time is not."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_STATE_FIELD = 0
_START_FIELD = 19  # field 22 of proc(5), counted after the command's name


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot.

    Attributes:
        name: What it is, for people.
        pid: Its pid.
        start_ticks: When it started, in clock ticks since boot.
        boot_id: Which boot.
    """

    name: str
    pid: int
    start_ticks: int
    boot_id: str

    def is_alive(self) -> bool:
        """Say whether this very process still runs; a zombie does not."""
        return self == identify(self.pid, self.name)

    def send(self, which: signal.Signals) -> None:
        """Send it a signal; nothing happens if it is gone."""
        if self.is_alive():
            try:
                os.kill(self.pid, which)
            except ProcessLookupError:
                return


def identify(pid: int, name: str) -> ProcessIdentity | None:
    """Identify a running process; None if there is none of that pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    if fields[_STATE_FIELD] in {"Z", "X"}:
        return None
    return ProcessIdentity(name, pid, int(fields[_START_FIELD]), boot_id)


def end(processes: list[ProcessIdentity], *, grace_s: float, poll_s: float = 0.05) -> None:
    """Ask processes to end, wait, and kill those that have not; blocking."""
    for process in processes:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(p.is_alive() for p in processes) and time.monotonic() < deadline:
        time.sleep(poll_s)
    for process in processes:
        process.send(signal.SIGKILL)
    while any(p.is_alive() for p in processes):
        time.sleep(poll_s)
