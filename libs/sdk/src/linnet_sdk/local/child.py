"""One supervised process: started, waited for, started again when it dies."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from linnet_runtime.errors import Unavailable

from linnet_sdk.local import log_files
from linnet_sdk.local.children import ChildSpec
from linnet_sdk.local.identity import ProcessIdentity, identify

_TETHER = Path(__file__).with_name("tether.py")
_SHOWN_LINES = 12
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before a process is started again.

    Attributes:
        first_s: The first pause, in seconds; each further one is twice as long.
        longest_s: The longest pause, in seconds.
        steady_s: A process that has served for so long begins at the first pause again.
        first_start_deaths: Deaths before a process has ever served after which nothing more is
            tried.
        start_limit_s: Seconds that a process may take until it serves.
    """

    first_s: float = 0.2
    longest_s: float = 10.0
    steady_s: float = 30.0
    first_start_deaths: int = 3
    start_limit_s: float = 90.0


USUAL_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Serving:
    """A process serves now."""

    name: str
    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Died:
    """A process died; `lines` are the last ones that it printed."""

    name: str
    pid: int
    how: str
    lines: tuple[str, ...]
    restart_s: float


Event = Serving | Died


class StartFailed(Unavailable):
    """A process of local mode could not be started."""

    default_reason = "LOCAL_START_FAILED"


def describe_exit(code: int) -> str:
    """Say how a process ended, for people."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


class Child:
    """Keeps one process running until it is told to stop.

    Args:
        spec: What to run.
        backoff: Pauses between starts.
        on_event: Told of every start and death.
        on_process: Told whenever the process is another one, so that it can be recorded.
        inherited: Variables that the process inherits.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        backoff: Backoff,
        on_event: Callable[[Event], None],
        on_process: Callable[[], None],
        inherited: Mapping[str, str],
    ) -> None:
        self.spec = spec
        self.identity: ProcessIdentity | None = None
        self.serving = asyncio.Event()
        self._backoff = backoff
        self._on_event = on_event
        self._on_process = on_process
        self._inherited = inherited
        self._has_served = False
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            StartFailed: It dies again and again, or never serves; names its last log lines.
        """
        self._task = asyncio.create_task(self._keep_running(), name=f"keep {self.spec.name}")
        served = asyncio.create_task(self.serving.wait())
        await asyncio.wait({served, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not served.done():
            served.cancel()
            await self._task

    async def watch(self) -> None:
        """Wait for ever; raises what ends the supervision of this process."""
        assert self._task is not None
        await self._task

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL when it takes too long."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self.spec.stop_s)
            except TimeoutError:
                process.kill()
                await process.wait()

    def kill(self) -> None:
        """End the process at once."""
        if self._task is not None:
            self._task.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _keep_running(self) -> None:
        pause_s = self._backoff.first_s
        deaths = 0
        while True:
            begun = time.monotonic()
            printed = await self._spawn()
            served_at = await self._until_serving_or_dead(begun)
            assert self._process is not None
            code = await self._process.wait()
            self.serving.clear()
            lines = tuple(log_files.last_lines(self.spec.log, _SHOWN_LINES, since_byte=printed))
            deaths = deaths + 1 if served_at is None else 0
            if deaths >= self._backoff.first_start_deaths and not self._has_served:
                raise StartFailed(
                    f"{self.spec.name} does not start: {describe_exit(code)}"
                    + "".join(f"\n  {line}" for line in lines),
                    metadata={"process": self.spec.name},
                )
            if served_at is not None and time.monotonic() - served_at > self._backoff.steady_s:
                pause_s = self._backoff.first_s
            self._on_event(
                Died(self.spec.name, self._process.pid, describe_exit(code), lines, pause_s)
            )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._backoff.longest_s)

    async def _spawn(self) -> int:
        log_files.rotate(self.spec.log)
        with self.spec.log.open("ab") as log:
            printed = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(_TETHER),
                str(os.getpid()),
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.spec.folder,
                env={**self._inherited, **self.spec.environment},
                start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone
            )
        self.identity = identify(self._process.pid, self.spec.name)
        self._on_process()
        return printed

    async def _until_serving_or_dead(self, begun: float) -> float | None:
        assert self._process is not None
        while self._process.returncode is None:
            if await self.spec.probe():
                seconds = time.monotonic() - begun
                self._has_served = True
                self._on_event(Serving(self.spec.name, self._process.pid, seconds))
                self.serving.set()
                return time.monotonic()
            if time.monotonic() - begun > self._backoff.start_limit_s:
                self._process.kill()
                break
            await asyncio.sleep(_POLL_S)
        return None
