"""Starting and stopping the testbed's processes inside its control group and namespaces."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .controlgroup import ControlGroup
from .faults import TestbedFault
from .patience import wait_until

_HOLDER = "holder"
# Joins the control group before it becomes the program, so that no child is ever outside.
_JOIN = 'echo $$ > "$0" && exec "$@"'
# Shims keep sockets under /run/containerd; kubelet links logs under /var/log/containers and listens
# for device plugins under /var/lib/kubelet, wherever their own folders are. All three are hidden by
# folders that vanish with the mount namespace.
_KUBELET_HOME = Path("/var/lib/kubelet")
_HIDDEN = (Path("/run"), Path("/var/log"), _KUBELET_HOME)


@dataclass(slots=True)
class Processes:
    """The processes of one testbed.

    All share one network and one mount namespace, which a holder process keeps: once the last
    process has ended the kernel drops both, with each link, iptables rule and mount in them.
    """

    group: ControlGroup
    logs: Path
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def hold_namespaces(self) -> None:
        """Start the holder and wait until its namespaces are there.

        Raises:
            TestbedFault: They could not be made.
        """
        self.group.create()
        _KUBELET_HOME.mkdir(exist_ok=True)
        mounts = [f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in _HIDDEN]
        hold = " && ".join([*mounts, "exec sleep infinity"])
        unshare = ["unshare", "--net", "--mount", "--propagation", "private"]
        command = [*unshare, "sh", "-c", hold]
        self._spawn(_HOLDER, command, self.group.leaf(_HOLDER), {})
        self.await_ready(_HOLDER, self._holder_settled, 10.0)

    def forget_namespaces(self) -> None:
        """Remove what `hold_namespaces` made; every process must have ended."""
        self.group.remove()
        with contextlib.suppress(OSError):
            # Not empty: a kubelet of the machine itself lives there.
            _KUBELET_HOME.rmdir()

    def holder(self) -> int | None:
        """Number of the process that holds the namespaces; None while there is none."""
        return next(iter(self.group.members(_HOLDER)), None)

    def entry(self, *, mounts: bool = True) -> list[str]:
        """The command prefix that runs a command in the testbed's namespaces.

        Args:
            mounts: Also in its mount namespace, as its processes are; a person's command is not.

        Raises:
            TestbedFault: The testbed is not running.
        """
        holder = self.holder()
        if holder is None:
            raise TestbedFault("the testbed is not running")
        prefix = ["nsenter", f"--net=/proc/{holder}/ns/net"]
        return [*prefix, f"--mount=/proc/{holder}/ns/mnt"] if mounts else prefix

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in the background; it writes to its own log file.

        Args:
            name: Of the log file, and of the leaf of the control group that it is in.
            command: Program and arguments.
            environment: Added to this process's own environment.
        """
        words = [*self.entry(), *map(str, command)]
        self._spawn(name, words, self.group.leaf(name), environment or {})

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: str | None = None,
        timeout_s: float = 120.0,
    ) -> str:
        """Run `command` in the namespaces to its end and return what it printed.

        Raises:
            TestbedFault: It failed.
        """
        words = [*self.entry(), *map(str, command)]
        done = subprocess.run(
            ["sh", "-c", _JOIN, str(self.group.leaf("commands")), *words],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise TestbedFault(
                f"{' '.join(map(str, command))} failed: {done.stderr.strip()[-1000:]}"
            )
        return done.stdout

    def await_ready(self, name: str, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `condition` holds, or the process `name` has ended.

        Raises:
            TestbedFault: It ended, or the time is over; the message has the end of its log.
        """

        def ready_or_ended() -> bool:
            process = self._started.get(name)
            if process is not None and process.poll() is not None:
                raise TestbedFault(f"{name} ended with {process.returncode}: {self._log_end(name)}")
            return condition()

        wait_until(
            ready_or_ended,
            timeout_s,
            f"{name} is ready",
            detail=lambda: self._log_end(name),
        )

    def stop(self, name: str, grace_s: float = 10.0) -> None:
        """Ask the process `name` and its children to end, then make them."""
        for pid in self.group.members(name):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        try:
            wait_until(lambda: not self.group.members(name), grace_s, f"{name} ends")
        except TestbedFault:
            self.group.kill(name)
        if name in self._started:
            self._started.pop(name).wait()

    def _spawn(
        self,
        name: str,
        words: Sequence[str],
        join: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self._started[name] = subprocess.Popen(
                ["sh", "-c", _JOIN, str(join), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                cwd="/",
                start_new_session=True,
            )

    def _holder_settled(self) -> bool:
        holder = self.holder()
        if holder is None:
            return False
        try:
            return Path(f"/proc/{holder}/comm").read_text().strip() == "sleep"
        except FileNotFoundError:
            return False

    def _log_end(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        return log.read_text(errors="replace")[-1500:].strip() if log.exists() else "it has no log"
