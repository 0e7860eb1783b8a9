"""A process forked right after `import tensorflow`, which forks children that can be lost.

Its parent may train and start threads; it itself never runs an operation, so that a child forked
from it has a TensorFlow that is imported and still unused. A crash of the converter ends a child,
not the run, and no child pays for an import. Messages are lines of JSON; files carry the data.

A child may run a stranger's code: it inherits no open file but its connection, ends with the
process that forked it, and what it sends is taken as a claim.
"""

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from linnet_trainer.message_line import MessageLine, pair
from linnet_trainer.scripts.confinement import end_with_parent

Job = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], None]], Mapping[str, Any]]
"""Maps arguments, and a function that sends an event, to a result; all JSON."""

Prepare = Callable[[], object]
"""What is done before the first job."""

_STDERR = 2
_MOST_FILES = 1 << 20
_CLOSED_S = 10.0
"""How long a child may go on without its connection; a crash dump takes a while."""


class ChildLost(Exception):
    """A child ended without an answer.

    Attributes:
        reason: What happened to it, for a person.
        signal: The signal that killed it; None when it ended by itself.
    """

    def __init__(self, reason: str, killed_by: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.signal = killed_by


@dataclass(frozen=True, slots=True)
class Call:
    """What a child has to do.

    Attributes:
        job: Name of the job.
        arguments: JSON.
        timeout_s: Longest time; the child is killed after it.
        reused: Whether a child that stays may do it; otherwise a new one does and ends.
    """

    job: str
    arguments: Mapping[str, Any]
    timeout_s: float
    reused: bool = True


class Zygote:
    """The parent's end; one call at a time.

    Args:
        jobs: What children can do, by name.
        prepare: Done by each child before its first job; none does nothing.
        ahead: Done by the zygote itself, while its parent goes on; children find it done.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        prepare: Prepare | None = None,
        ahead: Prepare | None = None,
    ) -> None:
        self._line, theirs = pair()
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                end_with_parent()
                _close_files_but(theirs)
                if ahead is not None:
                    ahead()
                _Server(jobs, theirs, prepare).serve()
            os._exit(0)
        theirs.close()

    def call(
        self, call: Call, on_event: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Mapping[str, Any]:
        """Have a child do a job and wait for it.

        Args:
            call: The job.
            on_event: Gets each event of the child, and an empty one every second; False, or
                whatever it raises, ends the child.

        Returns:
            The result.

        Raises:
            ChildLost: The child crashed, was killed or took too long.
        """
        self._line.send(
            {
                "job": call.job,
                "arguments": dict(call.arguments),
                "timeout_s": call.timeout_s,
                "reused": call.reused,
            }
        )
        raised: Exception | None = None
        while True:
            message = self._line.receive(1.0)
            if message is None:
                raise ChildLost("the process that starts children has ended")
            if raised is not None and ("result" in message or "lost" in message):
                raise raised
            if "result" in message:
                return dict(message["result"])
            if "lost" in message:
                raise ChildLost(message["lost"], message.get("signal"))
            if on_event is None:
                continue
            try:
                wanted = on_event(message.get("event", {}))
            except Exception as error:  # noqa: BLE001 - raised again when the child has ended
                wanted, raised = False, error
            if not wanted:
                self._line.send({"stop": True})
                on_event = None

    def close(self) -> None:
        """End the zygote and its children."""
        self._line.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class _Server:
    """The zygote itself."""

    def __init__(
        self, jobs: Mapping[str, Job], owner: MessageLine, prepare: Prepare | None
    ) -> None:
        self._jobs = jobs
        self._owner = owner
        self._prepare = prepare
        self._worker: tuple[int, MessageLine] | None = None

    def serve(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while (message := self._owner.receive(3600.0)) is not None:
            if "job" in message:
                self._owner.send(self._do(message))
        if self._worker is not None:
            _kill(self._worker[0])

    def _do(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        worker = self._worker if message["reused"] else None
        pid, line = worker or self._fork()
        if message["reused"]:
            self._worker = (pid, line)
        line.send(message)
        answer = self._await(line, time.monotonic() + message["timeout_s"])
        if "result" in answer and message["reused"]:
            return answer
        line.close()
        if "result" in answer:
            # It has nothing left to do; one that goes on has told what is not true.
            _kill(pid)
        else:
            answer = _autopsy(pid, answer)
        if message["reused"]:
            self._worker = None
        return answer

    def _await(self, line: MessageLine, deadline: float) -> dict[str, Any]:
        while True:
            message = line.receive(0.2)
            if message is None:
                return {}
            if isinstance(message.get("result"), dict):
                return {"result": message["result"]}
            if isinstance(message.get("event"), dict):
                self._owner.send({"event": message["event"]})
            if time.monotonic() > deadline:
                return {"lost": "it took longer than it may"}
            if self._owner.waiting() and "stop" in (self._owner.receive(0.0) or {"stop": True}):
                return {"lost": "it was stopped"}

    def _fork(self) -> tuple[int, MessageLine]:
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            _close_files_but(theirs)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with contextlib.suppress(BaseException):
                self._work(theirs)
                os._exit(0)
            os._exit(1)
        theirs.close()
        return pid, ours

    def _work(self, line: MessageLine) -> None:
        if self._prepare is not None:
            self._prepare()
        for message in _messages(line):
            job = self._jobs[message["job"]]
            result = job(message["arguments"], lambda e: line.send({"event": dict(e)}))
            line.send({"result": dict(result)})


def _close_files_but(line: MessageLine) -> None:
    """Close what a fork inherited: other connections and files of the parent."""
    kept = line.socket.fileno()
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.closerange(_STDERR + 1, kept)
    os.closerange(kept + 1, min(most, _MOST_FILES))
    # A parent may have put others in their place, whose files are closed now.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def _messages(line: MessageLine) -> Iterator[dict[str, Any]]:
    while (message := line.receive(3600.0)) is not None:
        if message:
            yield message


def _kill(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _ended(pid: int) -> int:
    """Wait for a child whose connection is gone; a child that only closed it is killed."""
    patience = time.monotonic() + _CLOSED_S
    while time.monotonic() < patience:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    return _kill(pid)


def _autopsy(pid: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    if "lost" in answer:
        _kill(pid)
        return dict(answer)
    status = _ended(pid)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"lost": f"it was killed by {signal.Signals(number).name}", "signal": number}
    return {"lost": f"it ended with exit code {os.WEXITSTATUS(status)}"}
