"""Local mode as a supervisor: real object store, real processes, stand-ins for the services."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest
from linnet_sdk.local.identity import identify

UP = Path(__file__).parents[1] / "fakes" / "local_up.py"
NAMES = {"store", "evaluator", "profiler", "gateway"}


@dataclass
class Up:
    """A running local mode and what it told so far."""

    home: Path
    process: subprocess.Popen[str]
    events: list[dict] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def wait_for(self, wanted: Callable[[list[dict]], bool], limit_s: float = 40.0) -> None:
        deadline = time.monotonic() + limit_s
        while not wanted(self.events):
            assert time.monotonic() < deadline, (self.events, self.errors)
            assert self.process.poll() is None or wanted(self.events), (self.events, self.errors)
            time.sleep(0.02)

    def pids(self) -> dict[str, int]:
        """Give the latest pid of each process."""
        return {e["process"]: e["pid"] for e in self.events if e["event"] == "serving"}

    def told(self, event: str) -> list[dict]:
        return [e for e in self.events if e["event"] == event]


def start(home: Path) -> Up:
    process = subprocess.Popen(
        [sys.executable, str(UP), "up", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    up = Up(home, process)

    def read_events() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            up.events.append(json.loads(line))

    def read_errors() -> None:
        assert process.stderr is not None
        up.errors.extend(process.stderr)

    Thread(target=read_events, daemon=True).start()
    Thread(target=read_errors, daemon=True).start()
    return up


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Give a local mode that is up; it and all it started are gone afterwards."""
    started = start(tmp_path / "home")
    try:
        started.wait_for(lambda events: any(e["event"] == "up" for e in events))
        yield started
    finally:
        started.process.terminate()
        try:
            started.process.wait(30)
        except subprocess.TimeoutExpired:
            started.process.kill()
        assert not alive(started)


def alive(up: Up) -> list[int]:
    """Give those pids that still run, after waiting for their end."""
    pids = [e["pid"] for e in up.told("serving")]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(identify(p, "") for p in pids):
        time.sleep(0.02)
    return [p for p in pids if identify(p, "")]


def test_it_serves_then_stops_cleanly(up: Up) -> None:
    """All four serve, the endpoint is told; SIGTERM ends all with exit code 0 and leaves none."""
    assert set(up.pids()) == NAMES
    endpoint = json.loads((up.home / "endpoint.json").read_text())
    assert endpoint["address"] == up.told("up")[0]["address"]
    assert (up.home / "endpoint.json").stat().st_mode & 0o077 == 0
    assert (up.home / "credentials.json").stat().st_mode & 0o077 == 0

    up.process.send_signal(signal.SIGTERM)

    assert up.process.wait(30) == 0
    assert alive(up) == []
    assert not (up.home / "endpoint.json").exists()
    assert up.events[-1]["event"] == "stopped"


def test_a_killed_child_comes_back_on_its_port(up: Up) -> None:
    """Each process that is killed is named with its last lines and serves again on its old port."""
    ports = json.loads((up.home / "ports.json").read_text())
    for number, name in enumerate(sorted(NAMES), start=1):
        before = up.pids()

        os.kill(before[name], signal.SIGKILL)
        up.wait_for(lambda _, name=name, before=before: up.pids()[name] != before[name])

        died = up.told("died")
        assert len(died) == number
        assert died[-1]["process"] == name
        assert died[-1]["how"] == "killed by SIGKILL"
        assert died[-1]["lines"]
        after = up.pids()
        assert {n for n in NAMES if after[n] != before[n]} == {name}
    assert json.loads((up.home / "ports.json").read_text()) == ports


def test_pauses_grow_when_a_child_dies_again(up: Up) -> None:
    """The second death of a process within a short time is followed by a longer pause."""
    for _ in range(2):
        pid = up.pids()["profiler"]
        os.kill(pid, signal.SIGKILL)
        up.wait_for(lambda _, pid=pid: up.pids()["profiler"] != pid)

    first, second = (e["restart_seconds"] for e in up.told("died"))
    assert second == 2 * first


def test_a_second_one_says_who_holds_the_home(up: Up) -> None:
    """A second local mode on the same home ends at once and names the first one's pid."""
    second = subprocess.run(
        [sys.executable, "-m", "linnet_sdk", "up", "--home", str(up.home)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert second.returncode == 69
    assert f"pid {up.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert (up.home / "endpoint.json").exists()


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(tmp_path: Path) -> None:
    """After kill -9 of the supervisor its processes end, and a new one starts on the same ports."""
    home = tmp_path / "home"
    first = start(home)
    first.wait_for(lambda events: any(e["event"] == "up" for e in events))
    ports = json.loads((home / "ports.json").read_text())

    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    second = start(home)
    try:
        second.wait_for(lambda events: any(e["event"] == "up" for e in events))
        assert alive(first) == []
        assert json.loads((home / "ports.json").read_text()) == ports
    finally:
        second.process.terminate()
        assert second.process.wait(30) == 0
        assert alive(second) == []


def test_leftovers_that_ignore_the_signal_are_ended(tmp_path: Path) -> None:
    """A recorded process that survived its supervisor and ignores SIGTERM is killed in the end."""
    from linnet_sdk.local import identity
    from linnet_sdk.local.home import Home

    stubborn = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    stubborn.stdout.read(1)
    found = identify(stubborn.pid, "gateway")
    assert found is not None
    home = Home(tmp_path)
    home.record_processes([found])
    reaper = Thread(target=stubborn.wait)  # a zombie counts as gone, but none must stay
    reaper.start()

    identity.end(home.recorded_processes(), grace_s=0.3)

    reaper.join(10)
    assert stubborn.returncode == -signal.SIGKILL


def test_a_reused_pid_is_left_alone(tmp_path: Path) -> None:
    """A process that has the pid of a recorded one but another start time is not touched."""
    from dataclasses import replace

    from linnet_sdk.local import identity

    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = identify(other.pid, "gateway")
        assert found is not None
        identity.end([replace(found, start_ticks=found.start_ticks - 1)], grace_s=0.1)

        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_a_child_that_never_starts_is_told_with_its_lines(tmp_path: Path) -> None:
    """A process that dies at each start ends the start with its name, exit code and last lines."""
    from linnet_sdk.local.child import Backoff, Child, StartFailed
    from linnet_sdk.local.children import ChildSpec

    async def never() -> bool:
        return False

    child = Child(
        ChildSpec(
            name="gateway",
            command=(sys.executable, "-c", "print('port is taken'); raise SystemExit(3)"),
            environment={},
            folder=tmp_path,
            log=tmp_path / "log",
            probe=never,
        ),
        backoff=Backoff(first_s=0.01),
        on_event=lambda _: None,
        on_process=lambda: None,
        inherited=os.environ,
    )

    with pytest.raises(StartFailed) as raised:
        await asyncio.wait_for(child.start(), 30)
    await child.stop()

    assert "gateway does not start: exit code 3" in raised.value.message
    assert "port is taken" in raised.value.message
