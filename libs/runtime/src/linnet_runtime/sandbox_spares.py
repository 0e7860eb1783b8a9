"""Children forked ahead of calls: each waits for one call, and is used for that one only.

A fork takes longer than most calls compute. A spare is as far as a child forked for its call would
be: nothing of a caller has reached it, and it confines itself once it has been given the call.
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from linnet_runtime import sandbox_child


@dataclass(frozen=True, slots=True)
class Spare:
    """A child that waits for a call, or has been given one.

    Attributes:
        pid: Its process.
        call: Where its one call goes.
    """

    pid: int
    call: socket.socket

    def took_its_call(self) -> bool:
        """Whether it began with its call, of which it tells first; asked once, after its end."""
        with self.call:
            try:
                return bool(self.call.recv(1))
            except ConnectionResetError:
                return False


class Spares:
    """The spares of a zygote.

    Args:
        count: How many to keep.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: list[Spare] = []

    @property
    def lacking(self) -> bool:
        """Whether there are fewer than wanted."""
        return len(self._waiting) < self._count

    def fork(self, leave: Callable[[], None]) -> None:
        """Fork one more.

        Args:
            leave: Closes, in the child, what only the zygote may hold.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            # Without room for more, calls fork their own child as long as that works.
            self._count = len(self._waiting)
            ours.close()
            theirs.close()
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            ours.close()
            leave()
            sandbox_child.wait_for_call(theirs, parent)
        theirs.close()
        self._waiting.append(Spare(pid, ours))

    def start(self, packet: bytes, fds: Sequence[int]) -> Spare | None:
        """Give a call to a spare, now the caller's to close; None where none is left."""
        while self._waiting:
            spare = self._waiting.pop()
            try:
                socket.send_fds(spare.call, [packet], fds)
            except OSError:
                spare.call.close()
                continue  # ended by someone; it is reaped like any other
            return spare
        return None

    def forget(self, pid: int) -> None:
        """Drop a spare that has ended."""
        for spare in [spare for spare in self._waiting if spare.pid == pid]:
            self._waiting.remove(spare)
            spare.call.close()

    def close(self) -> None:
        """Close what leads to the spares, who end; in a child it leaves them to the zygote."""
        for spare in self._waiting:
            spare.call.close()
