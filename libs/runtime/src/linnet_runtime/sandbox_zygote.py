"""The zygote: a single-threaded process that has imported what is slow and forks a child a call.

Run as `python -m linnet_runtime.sandbox_zygote FD SPARES MODULE...`. FD is a SOCK_SEQPACKET socket;
SPARES is how many children are forked ahead, while no call is in progress. Each
packet is one call: JSON with the function and its limits, and descriptors for the reply, the
answer, the log and the inputs. The reply is one JSON packet, sent when the child has ended. A
caller that closes its end of the reply has its child killed; so has one whose deadline passed.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from linnet_runtime import sandbox_child, seccomp
from linnet_runtime.sandbox_spares import Spare, Spares

# Calls often come together; the next one must not wait for a fork that it has no need of.
_IDLE_MS = 5


@dataclass(slots=True)
class _Call:
    """A call and the descriptors that are the zygote's until its child has ended."""

    packet: bytes
    fds: list[int]
    reply: socket.socket
    deadline: float
    begun: float
    spare: Spare | None = None
    timed_out: bool = False

    def close(self) -> None:
        """Close everything but the reply."""
        for fd in self.fds:
            os.close(fd)
        if self.spare is not None:
            self.spare.call.close()

    def was_left(self) -> bool:
        """Whether the spare that it was given to died before it began with it."""
        return self.spare is not None and not self.timed_out and not self.spare.took_its_call()


class Zygote:
    """Forks a child a call until its control socket closes."""

    def __init__(self, control: socket.socket, spares: Spares) -> None:
        self._control = control
        self._spares = spares
        self._children: dict[int, _Call] = {}
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve calls."""
        try:
            while self._step():
                pass
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)

    def _step(self) -> bool:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        by_reply = {}
        for pid, child in self._children.items():
            poll.register(child.reply, 0)
            by_reply[child.reply.fileno()] = pid
        alive = True
        events = poll.poll(self._timeout_ms())
        if not events and self._may_fork_ahead():
            self._spares.fork(self._leave)
        for fd, _ in events:
            if fd == self._control.fileno():
                alive = self._accept()
            elif fd == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                os.kill(by_reply[fd], signal.SIGKILL)
        self._kill_overdue()
        self._reap()
        return alive

    def _may_fork_ahead(self) -> bool:
        # Calls in progress need the processors more.
        return not self._children and self._spares.lacking

    def _leave(self) -> None:
        """Close, in a child, what only the zygote may hold."""
        self._control.close()
        self._spares.close()
        for other in self._children.values():
            other.close()
            other.reply.close()

    def _timeout_ms(self) -> int | None:
        if self._may_fork_ahead():
            return _IDLE_MS
        deadlines = [c.deadline for c in self._children.values() if not c.timed_out]
        if not deadlines:
            return None
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1)

    def _accept(self) -> bool:
        data, fds = sandbox_child.receive(self._control)
        if not data:
            return False
        reply_fd, *call_fds = fds
        reply = socket.socket(fileno=reply_fd)
        limits = sandbox_child.Limits(**json.loads(data)["limits"])
        begun = time.monotonic()
        self._start(_Call(data, call_fds, reply, begun + limits.wall_s, begun))
        return True

    def _start(self, call: _Call) -> None:
        call.spare = self._spares.start(call.packet, call.fds)
        if call.spare is not None:
            self._children[call.spare.pid] = call
            return
        pid = os.fork()
        if pid == 0:
            call.reply.close()
            self._leave()
            sandbox_child.answer(call.packet, call.fds)
        self._children[pid] = call

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, child in self._children.items():
            if not child.timed_out and now >= child.deadline:
                child.timed_out = True
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            call = self._children.pop(pid, None)
            if call is None:
                self._spares.forget(pid)
                continue
            if call.was_left():
                self._start(call)
                continue
            ended = {
                "code": os.waitstatus_to_exitcode(status),
                "timed_out": call.timed_out,
                "wall_s": time.monotonic() - call.begun,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "max_rss_bytes": usage.ru_maxrss * 1024,
            }
            call.close()
            # A caller that is gone needs no reply.
            with call.reply, contextlib.suppress(OSError):
                call.reply.send(json.dumps(ended).encode())


def main() -> None:
    """Import the modules named on the command line and serve calls."""
    for name in sys.argv[3:]:
        importlib.import_module(name)
    threads = list(Path("/proc/self/task").iterdir())
    if len(threads) != 1:
        raise SystemExit(f"zygote must have one thread, has {len(threads)} after its imports")
    control = socket.socket(fileno=int(sys.argv[1]))
    seccomp.libc()
    gc.collect()
    gc.freeze()
    # Ctrl-C goes to the whole terminal group; the zygote ends when its owner closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control.send(b"ready")
    Zygote(control, Spares(int(sys.argv[2]))).serve()


if __name__ == "__main__":
    main()
