"""A process forked right after `import tensorflow`, which forks children that can be lost.

Its parent may train and start threads; it itself never runs an operation, so that a child forked
from it has a TensorFlow that is imported and still unused. A crash of the converter ends a child,
not the run, and no child pays for an import. Messages are lines of JSON; files carry the data.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Job = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], None]], Mapping[str, Any]]
"""Maps arguments, and a function that sends an event, to a result; all JSON."""

_READ_BYTES = 65_536


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
    """The parent's end; one call at a time."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._line, theirs = _pair()
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                self._line.close()
                _Server(jobs, theirs).serve()
            os._exit(0)
        theirs.close()

    def call(
        self, call: Call, on_event: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Mapping[str, Any]:
        """Have a child do a job and wait for it.

        Args:
            call: The job.
            on_event: Gets each event of the child, and an empty one every second; False ends the
                child.

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
        while True:
            message = self._line.receive(1.0)
            if message is None:
                raise ChildLost("the process that starts children has ended")
            if "result" in message:
                return dict(message["result"])
            if "lost" in message:
                raise ChildLost(message["lost"], message.get("signal"))
            if on_event is not None and not on_event(message.get("event", {})):
                self._line.send({"stop": True})
                on_event = None

    def close(self) -> None:
        """End the zygote and its children."""
        self._line.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class _Line:
    """One end of a connection that carries a JSON object a line."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._rest = b""

    def send(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Give the next message, an empty one after the time, None when the other end is gone."""
        while b"\n" not in self._rest:
            if not select.select([self.socket], [], [], timeout_s)[0]:
                return {}
            try:
                data = self.socket.recv(_READ_BYTES)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return dict(json.loads(line))

    def waiting(self) -> bool:
        return b"\n" in self._rest or bool(select.select([self.socket], [], [], 0)[0])

    def close(self) -> None:
        self.socket.close()


def _pair() -> tuple[_Line, _Line]:
    ours, theirs = socket.socketpair()
    return _Line(ours), _Line(theirs)


class _Server:
    """The zygote itself."""

    def __init__(self, jobs: Mapping[str, Job], owner: _Line) -> None:
        self._jobs = jobs
        self._owner = owner
        self._worker: tuple[int, _Line] | None = None

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
        if "result" not in answer:
            answer = _autopsy(pid, answer)
        else:
            line.close()
            os.waitpid(pid, 0)
        if message["reused"]:
            self._worker = None
        return answer

    def _await(self, line: _Line, deadline: float) -> dict[str, Any]:
        while True:
            message = line.receive(0.2)
            if message is None:
                return {}
            if "result" in message:
                return message
            if "event" in message:
                self._owner.send(message)
            if time.monotonic() > deadline:
                return {"lost": "it took longer than it may"}
            if self._owner.waiting() and "stop" in (self._owner.receive(0.0) or {"stop": True}):
                return {"lost": "it was stopped"}

    def _fork(self) -> tuple[int, _Line]:
        ours, theirs = _pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._owner.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for message in _messages(theirs):
                job = self._jobs[message["job"]]
                result = job(message["arguments"], lambda e: theirs.send({"event": dict(e)}))
                theirs.send({"result": dict(result)})
            os._exit(0)
        theirs.close()
        return pid, ours


def _messages(line: _Line) -> Iterator[dict[str, Any]]:
    while (message := line.receive(3600.0)) is not None:
        if message:
            yield message


def _kill(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _autopsy(pid: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    if "lost" in answer:
        _kill(pid)
        return dict(answer)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"lost": f"it was killed by {signal.Signals(number).name}", "signal": number}
    return {"lost": f"it ended with exit code {os.WEXITSTATUS(status)}"}
