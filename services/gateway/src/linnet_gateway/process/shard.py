"""One shard: a folder of facts and, at times, a trainer process.

All that matters is in the folder, so that a gateway that was killed finds its trainers again. The
trainer and its wrapper hold a lock on `lock` as long as either lives: the kernel lets go of it when
they are gone, however they went, and no process id has to be trusted. The wrapper, a line of shell,
writes the exit code, which nobody but a parent could learn otherwise.
"""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.launches.launcher import TRAINER_NAME, ShardState, ShardStatus, kept_ends
from linnet_gateway.launches.plain_text import plain
from linnet_gateway.launches.trainer_exits import outcome_of
from linnet_gateway.process.exits import failure_of
from linnet_gateway.states import Failure, FailureReason
from linnet_gateway.uids import new_uid

_WRAPPER = (
    'trap : TERM INT HUP; printf %s "$$" > pid.new; mv pid.new pid; "$@"; code=$?; '
    'printf %s "$code" > exit.new; mv exit.new exit; exit "$code"'
)
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 40
_KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a shard for ever.

    Attributes:
        crashes: Trainers of it that died.
        failure: Why the last one did.
        state: SUCCEEDED or FAILED once that is final, else None.
        ended: Why each of the last ones did, by its name.
    """

    crashes: int = 0
    failure: Failure | None = None
    state: ShardState | None = None
    ended: Mapping[str, Failure] = field(default_factory=dict)


class Shard:
    """One shard of a launch."""

    def __init__(self, folder: Path, index: int, *, retries: int) -> None:
        self.index = index
        self._folder = folder
        self._retries = retries
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._facts = self._read_facts()
        # The marker is there before a trainer is, and goes only when none is left.
        self._marked = (folder / "started").exists()

    @property
    def output(self) -> Path:
        """Where its trainers print to."""
        return self._folder / "output.log"

    @property
    def facts(self) -> Facts:
        """What is known of it for ever."""
        return self._facts

    @property
    def trainer(self) -> str:
        """Name of its latest trainer; empty without one."""
        return str(_mark(self._folder / "started").get("trainer", ""))

    def alive(self) -> bool:
        """Say whether a trainer of it lives, started by this gateway or an earlier one."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if not self._marked:
            return False
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a trainer in a session of its own; does nothing if one lives."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return
        try:
            for name in ("pid", "exit"):
                (self._folder / name).unlink(missing_ok=True)
            name = new_uid()
            mark = {"oom_kills": _oom_kills(), "trainer": name}
            _write(self._folder / "started", json.dumps(mark))
            self._marked = True
            with self.output.open("ab") as output:
                self._child = subprocess.Popen(
                    ["/bin/sh", "-c", _WRAPPER, "trainer", *command],
                    cwd=self._folder,
                    env={**environment, TRAINER_NAME: name},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[lock],
                )
        finally:
            # The trainer's copy keeps the lock.
            os.close(lock)

    def settle(self) -> None:
        """Take note of a trainer that has ended since the last look."""
        started = self._folder / "started"
        if self._facts.state is not None or not self._marked or self.alive():
            return
        code = self._exit_code()
        if code == ExitCode.OK:
            self._write_facts(replace(self._facts, state=ShardState.SUCCEEDED))
        else:
            mark = _mark(started)
            out_of_memory = code == _KILLED and _oom_kills() > int(mark.get("oom_kills", 0))
            failure = failure_of(code, self.tail(), out_of_memory=out_of_memory)
            crashes = self._facts.crashes + 1
            final = not outcome_of(code).retried or crashes > self._retries
            state = ShardState.FAILED if final else None
            ended = kept_ends(self._facts.ended, str(mark.get("trainer", "")), failure)
            self._write_facts(Facts(crashes, failure, state, ended))
        started.unlink()
        self._marked = False

    def end(self, failure: Failure) -> None:
        """Make the shard FAILED unless it has ended; its trainer is not touched."""
        if self._facts.state is None:
            self._write_facts(replace(self._facts, failure=failure, state=ShardState.FAILED))

    def status(self) -> ShardStatus:
        """Say how it does."""
        if self._facts.state is not None:
            state = self._facts.state
        else:
            state = ShardState.RUNNING if self.alive() else ShardState.PENDING
        return ShardStatus(self.index, state, self._facts.failure, self._facts.ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the trainer and everything that it started."""
        if not self.alive():
            return
        with suppress(OSError, ValueError):
            os.killpg(int((self._folder / "pid").read_text()), number)

    def tail(self) -> tuple[str, ...]:
        """Give the last lines that its trainers printed."""
        try:
            with self.output.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ()
        return tuple(plain(line) for line in text.splitlines()[-_TAIL_LINES:])

    def _exit_code(self) -> int:
        try:
            return int((self._folder / "exit").read_text())
        except (OSError, ValueError):
            # Nobody wrote it: the wrapper was killed as well.
            return _KILLED

    def _read_facts(self) -> Facts:
        try:
            values: dict[str, Any] = json.loads((self._folder / "facts.json").read_text())
        except (OSError, ValueError):
            return Facts()
        failure, state = values["failure"], values["state"]
        return Facts(
            crashes=values["crashes"],
            failure=None if failure is None else _failure(failure),
            state=None if state is None else ShardState(state),
            ended={name: _failure(end) for name, end in values.get("ended", {}).items()},
        )

    def _write_facts(self, facts: Facts) -> None:
        values = {
            "crashes": facts.crashes,
            "state": None if facts.state is None else facts.state.value,
            "failure": None if facts.failure is None else asdict(facts.failure),
            "ended": {name: asdict(failure) for name, failure in facts.ended.items()},
        }
        _write(self._folder / "facts.json", json.dumps(values))
        self._facts = facts


def _failure(values: dict[str, Any]) -> Failure:
    reason, tail = FailureReason(values["reason"]), tuple(values["log_tail"])
    return Failure(**{**values, "reason": reason, "log_tail": tail})


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _oom_kills() -> int:
    """Count processes that the kernel killed for memory since the machine started."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _mark(started: Path) -> dict[str, Any]:
    try:
        found = json.loads(started.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
