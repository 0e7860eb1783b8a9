"""What happens inside a throw-away child: limits first, then the function, then one answer."""

import importlib
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from linnet_runtime import seccomp
from linnet_runtime.errors import InvalidInput, LinnetError
from linnet_runtime.shared_bytes import BytesLike, map_readonly, write_all

HEADER = struct.Struct("<Q")
"""Length in bytes of the answer's JSON, which the output buffers follow."""

SandboxFunction = Callable[[Any, Sequence[memoryview]], tuple[Any, Sequence[BytesLike]]]
"""A function for the sandbox: (arguments, inputs) -> (JSON value, output buffers)."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 64
_MAX_PACKET_BYTES = 65_536
_MAX_DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use.

    Attributes:
        wall_s: Seconds from the fork to the answer; the child is killed when they are over.
        cpu_s: Seconds of processor time; rounded up to whole seconds, 0 means `wall_s`.
        memory_bytes: Address space that the call may add to the zygote's own and its inputs'.
        output_bytes: Bytes that it may answer.
    """

    wall_s: float = 60.0
    cpu_s: float = 0.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        """Refuse what no clock can count down.

        Raises:
            ValueError: A time is not finite, or negative.
        """
        for name in ("wall_s", "cpu_s"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name}: expected a finite number of seconds, received {value}")


def load(path: str) -> SandboxFunction:
    """Import `module:function`."""
    module, _, name = path.partition(":")
    function: SandboxFunction = getattr(importlib.import_module(module), name)
    return function


def _confine(limits: Limits) -> None:
    _end_with_parent()
    libc = seccomp.libc()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    own_bytes = _address_space_bytes()
    cpu_s = int(limits.cpu_s or limits.wall_s) + 1
    address_space = own_bytes + limits.memory_bytes
    for which, value in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_FSIZE, limits.output_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    seccomp.forbid()


def _address_space_bytes() -> int:
    # Each child pays for this: the calls themselves cost a tenth of pathlib's and io's.
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    pages = os.read(statm, 256).split()[0]
    os.close(statm)
    return int(pages) * resource.getpagesize()


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, InvalidInput):
        violations = [[v.field, v.description] for v in error.violations]
        return {"reason": error.reason, "message": error.message, "violations": violations}
    if isinstance(error, LinnetError):
        return {"reason": error.reason, "message": error.message}
    if isinstance(error, MemoryError):
        return {"kind": "memory", "message": str(error)}
    return {"kind": type(error).__name__, "message": str(error)[:2000]}


def receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one call: its packet, empty at the end, and its descriptors."""
    data, fds, _, _ = socket.recv_fds(source, _MAX_PACKET_BYTES, _MAX_DESCRIPTORS)
    return data, fds


def wait_for_call(source: socket.socket, zygote_pid: int) -> NoReturn:
    """Wait for one call as a child of the zygote, answer it, and end the process."""
    _end_with_parent()
    if os.getppid() != zygote_pid:
        os._exit(0)
    data, fds = receive(source)
    if not data:
        os._exit(0)
    # A call whose child ended without having said so is given to another one.
    source.send(b"1")
    source.close()
    answer(data, fds)


def answer(packet: bytes, fds: Sequence[int]) -> NoReturn:
    """Answer a call, given its packet and the descriptors of the answer, log and inputs."""
    call: dict[str, Any] = json.loads(packet)
    output_fd, log_fd, *input_fds = fds
    run(call["function"], Limits(**call["limits"]), output_fd, log_fd, input_fds)


def _end_with_parent() -> None:
    seccomp.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(
    function: str, limits: Limits, output_fd: int, log_fd: int, input_fds: Sequence[int]
) -> NoReturn:
    """Run the function under the limits, write its answer to `output_fd`, and end the process."""
    signal.set_wakeup_fd(-1)
    for which in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(which, signal.SIG_DFL)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    code = 0
    try:
        arguments_view, *inputs = [map_readonly(fd) for fd in input_fds]
        arguments = json.loads(bytes(arguments_view))
        _confine(limits)
        value, outputs = load(function)(arguments, inputs)
        head = {"value": value, "sizes": [memoryview(o).nbytes for o in outputs]}
        _answer(output_fd, head, outputs)
    except BaseException as error:  # noqa: BLE001 (whatever it was, the caller must learn of it)
        try:
            os.ftruncate(output_fd, 0)
            os.lseek(output_fd, 0, os.SEEK_SET)
            _answer(output_fd, {"error": _failure(error)}, ())
        except BaseException:  # noqa: BLE001 (nothing is left but the exit code)
            code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _answer(output_fd: int, head: dict[str, Any], outputs: Sequence[BytesLike]) -> None:
    text = json.dumps(head).encode()
    write_all(output_fd, HEADER.pack(len(text)) + text)
    for output in outputs:
        write_all(output_fd, output)
