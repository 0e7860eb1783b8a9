"""The control group that holds every process of a testbed, so that none is missed.

Process files go stale and process numbers are used again; a control group is inherited by each
child and is kept by the kernel.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .patience import wait_until

_ROOT = Path("/sys/fs/cgroup")
_TRACKING_CONTROLLER = "pids"
# With cgroup v1, systemd and kubelet also use a version 2 hierarchy that has no controller.
_KINDS = ("cgroup", "cgroup2")


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A group below the root of each cgroup hierarchy of this machine (cgroup v2 has one)."""

    name: str
    hierarchies: tuple[Path, ...]
    tracking: Path

    @classmethod
    def of(cls, name: str, mounts: Path = Path("/proc/self/mounts")) -> ControlGroup:
        """The group `name`, on the hierarchies that this machine has mounted."""
        if (_ROOT / "cgroup.controllers").exists():
            return cls(name, (_ROOT,), _ROOT)
        fields = [line.split() for line in mounts.read_text().splitlines()]
        hierarchies = tuple(Path(where) for _, where, kind, *_ in fields if kind in _KINDS)
        tracking = next(path for path in hierarchies if path.name == _TRACKING_CONTROLLER)
        return cls(name, hierarchies, tracking)

    def create(self) -> None:
        """Make the group in each hierarchy; kubelet wants its root to be in all of them."""
        for hierarchy in self.hierarchies:
            (hierarchy / self.name).mkdir(exist_ok=True)

    def leaf(self, name: str) -> Path:
        """The file that a process writes its number into to join the leaf group `name`."""
        folder = self.tracking / self.name / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "cgroup.procs"

    def members(self, leaf: str = "") -> list[int]:
        """Numbers of the processes in the group, or in one leaf of it and below."""
        found: set[int] = set()
        trees = [hierarchy / self.name / leaf for hierarchy in self.hierarchies]
        for folder in (folder for tree in trees for folder in _folders(tree)):
            try:
                found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
            except FileNotFoundError:
                continue
        return sorted(found - {0})

    def kill(self, leaf: str = "", timeout_s: float = 30.0) -> None:
        """End every member at once and wait until none is left.

        Raises:
            TestbedFault: A process did not go within `timeout_s`.
        """

        def none_left() -> bool:
            members = self.members(leaf)
            for pid in members:
                _signal(pid, signal.SIGKILL)
            return not members

        wait_until(none_left, timeout_s, f"processes of {self.name} end", detail=self._names)

    def remove(self) -> None:
        """Remove the group and all below it from each hierarchy."""
        for hierarchy in self.hierarchies:
            for folder in _folders(hierarchy / self.name):
                wait_until(_removed(folder), 10.0, f"control group {folder} can be removed")

    @property
    def exists(self) -> bool:
        """Whether anything of the group is left."""
        return any((hierarchy / self.name).exists() for hierarchy in self.hierarchies)

    def _names(self) -> str:
        names = []
        for pid in self.members():
            try:
                names.append(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
            except FileNotFoundError:
                continue
        return ", ".join(names)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _removed(folder: Path) -> Callable[[], bool]:
    def attempt() -> bool:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    return attempt


def _folders(top: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)
