"""Runs a function on untrusted bytes in a throw-away child process.

    sandbox = Sandbox(["ai_edge_litert.interpreter"])
    with SharedBytes(model) as file:
        answer = sandbox.run("my.module:describe", {"depth": 3}, [file], Limits(wall_s=5))

The function is named by its import path and takes `(arguments, inputs)`: a JSON value and read-only
views. It gives `(value, buffers)`: a JSON value and bytes-like objects. Nothing is ever unpickled.

Children are forked by a zygote, a process of its own with one thread, which has imported the given
modules: a fork costs some 2 ms where a fresh interpreter costs 150, and some are forked ahead, each
for one call. The owner's process, with its threads, is never forked.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from linnet_runtime.errors import (
    Code,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    LinnetError,
    Unavailable,
    Violation,
)
from linnet_runtime.sandbox_child import HEADER, Limits
from linnet_runtime.shared_bytes import SharedBytes, map_readonly

__all__ = ["Answer", "Limits", "Sandbox", "SandboxFailure", "SharedBytes"]

_GRACE_S = 5.0
_START_S = 60.0
_LOG_TAIL_BYTES = 2000
# What a child may see of the environment: no credentials, one thread in each maths library.
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME")
_SET_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONHASHSEED": "0",
}


class SandboxFailure(LinnetError):
    """The call ended without an answer because of what it was given.

    Attributes:
        log_tail: The last bytes that the child printed.
    """

    code = Code.INVALID_ARGUMENT
    default_reason = "CRASHED"

    def __init__(self, message: str, *, reason: str, log_tail: str = "") -> None:
        super().__init__(message, reason=reason)
        self.log_tail = log_tail


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave and what it used.

    Attributes:
        value: The function's JSON value.
        outputs: Views of the function's buffers.
        wall_s: Seconds from fork to exit.
        cpu_s: Processor seconds.
        max_rss_bytes: Largest resident size, the zygote's shared pages included.
    """

    value: Any
    outputs: tuple[memoryview, ...]
    wall_s: float
    cpu_s: float
    max_rss_bytes: int


class Sandbox:
    """A zygote and the calls to it; methods may be called from any thread.

    Args:
        modules: What the zygote imports before the first call.
        subject: First word of the reasons of failures, such as `MODEL` in
            `MODEL_CRASHED_SIGSEGV`.
        spares: Children that are forked ahead, while no call is in progress.
    """

    def __init__(
        self, modules: Sequence[str] = (), *, subject: str = "MODEL", spares: int = 2
    ) -> None:
        self._modules = tuple(modules)
        self._subject = subject
        self._spares = spares
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the zygote and wait until it can fork; does nothing if it runs.

        Raises:
            Internal: It could not be started.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._stop()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            environment = {k: v for k, v in os.environ.items() if k in _KEPT_VARIABLES}
            with theirs:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "linnet_runtime.sandbox_zygote",
                        str(theirs.fileno()),
                        str(self._spares),
                        *self._modules,
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=environment | _SET_VARIABLES,
                )
            ours.settimeout(_START_S)
            self._control = ours
            try:
                ready = ours.recv(16)
            except OSError:
                ready = b""
            if ready != b"ready":
                self._stop()
                raise Internal("the sandbox's zygote did not start; its error output says why")

    def close(self) -> None:
        """End the zygote and every child."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def run(
        self,
        function: str,
        arguments: Mapping[str, Any],
        inputs: Sequence[SharedBytes] = (),
        limits: Limits | None = None,
    ) -> Answer:
        """Run `module:function` on the inputs in a child of its own; blocks until it has ended.

        Raises:
            InvalidInput: The function raised it.
            SandboxFailure: The child crashed, was out of memory or time, or raised something else.
            Unavailable: The zygote died; the next call starts another.
        """
        self.start()
        limits = limits or Limits()
        output_fd = os.memfd_create("linnet-output", os.MFD_CLOEXEC)
        log_fd = os.memfd_create("linnet-log", os.MFD_CLOEXEC)
        try:
            with SharedBytes(json.dumps(arguments).encode()) as packed:
                ended = self._call(function, limits, output_fd, log_fd, [packed, *inputs])
            size_bytes = os.fstat(log_fd).st_size
            offset = max(0, size_bytes - _LOG_TAIL_BYTES)
            log_tail = os.pread(log_fd, _LOG_TAIL_BYTES, offset).decode(errors="replace")
            return self._answer(ended, limits, map_readonly(output_fd), log_tail)
        finally:
            os.close(output_fd)
            os.close(log_fd)

    def _call(
        self,
        function: str,
        limits: Limits,
        output_fd: int,
        log_fd: int,
        inputs: Sequence[SharedBytes],
    ) -> dict[str, Any]:
        packet = json.dumps({"function": function, "limits": asdict(limits)}).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                fds = [theirs.fileno(), output_fd, log_fd, *(i.fd for i in inputs)]
                with self._lock:
                    if self._control is None:
                        raise Unavailable("the sandbox is closed")
                    zygote = self._process
                    try:
                        socket.send_fds(self._control, [packet], fds)
                    except OSError as error:
                        self._stop()
                        raise Unavailable("the sandbox's zygote is gone; try again") from error
            ours.settimeout(limits.wall_s + _GRACE_S)
            try:
                data = ours.recv(65_536)
            except TimeoutError:
                data = b""
        if not data:
            self._end(zygote)
            raise Unavailable("the sandbox's zygote died during a call; try again")
        ended: dict[str, Any] = json.loads(data)
        return ended

    def _end(self, zygote: subprocess.Popen[bytes] | None) -> None:
        with self._lock:
            # Another call may have started the next zygote already.
            if zygote is not None and self._process is zygote:
                zygote.kill()
                self._stop()

    def _answer(
        self, ended: Mapping[str, Any], limits: Limits, output: memoryview, log_tail: str
    ) -> Answer:
        code = int(ended["code"])
        if ended["timed_out"] or code == -signal.SIGXCPU:
            raise DeadlineExceeded(
                f"expected an end within {limits.wall_s:g} s, was stopped then",
                reason=f"{self._subject}_DEADLINE_EXCEEDED",
            )
        if code < 0:
            name = signal.Signals(-code).name
            raise SandboxFailure(
                f"the process that opened it was ended by {name}",
                reason=f"{self._subject}_CRASHED_{name}",
                log_tail=log_tail,
            )
        head, body = self._parse(output, log_tail)
        if "error" in head:
            raise self._error(head["error"], log_tail)
        views, offset = [], 0
        for size in head["sizes"]:
            views.append(body[offset : offset + size])
            offset += size
        return Answer(
            value=head["value"],
            outputs=tuple(views),
            wall_s=float(ended["wall_s"]),
            cpu_s=float(ended["cpu_s"]),
            max_rss_bytes=int(ended["max_rss_bytes"]),
        )

    def _parse(self, output: memoryview, log_tail: str) -> tuple[dict[str, Any], memoryview]:
        # The child may be hostile: nothing of its answer is taken on trust.
        try:
            (length,) = HEADER.unpack_from(output)
            head = json.loads(bytes(output[HEADER.size : HEADER.size + length]))
            sizes = [int(size) for size in head.get("sizes", ())]
        except (struct.error, ValueError, TypeError, AttributeError) as error:
            raise self._no_answer(log_tail) from error
        body = output[HEADER.size + length :]
        if "error" not in head and (min(sizes, default=0) < 0 or sum(sizes) != body.nbytes):
            raise self._no_answer(log_tail)
        return head, body

    def _no_answer(self, log_tail: str) -> SandboxFailure:
        return SandboxFailure(
            "the process that opened it ended without an answer",
            reason=f"{self._subject}_CRASHED",
            log_tail=log_tail,
        )

    def _error(self, error: Mapping[str, Any], log_tail: str) -> LinnetError:
        message = str(error.get("message", ""))[:2000]
        reason = str(error.get("reason", ""))[:64]
        if reason and error.get("violations"):
            violations = [Violation(str(f), str(d)) for f, d in error["violations"]]
            return InvalidInput(violations, reason=reason)
        if reason:
            return SandboxFailure(message, reason=reason, log_tail=log_tail)
        if error.get("kind") == "memory":
            return SandboxFailure(
                "it needs more memory than a model may use",
                reason=f"{self._subject}_OUT_OF_MEMORY",
                log_tail=log_tail,
            )
        return SandboxFailure(
            f"{error.get('kind')}: {message}",
            reason=f"{self._subject}_REFUSED",
            log_tail=log_tail,
        )
