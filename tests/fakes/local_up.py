"""Local mode with the real object store and stand-ins for the services; run as a program.

local_up.py up HOME             prints one JSON line an event, as `linnet up --json`
local_up.py serve NAME PORT     a stand-in: health on a port; the gateway also a TrainingService
"""

import asyncio
import dataclasses
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from linnet_sdk.local import children
from linnet_sdk.local.home import Credentials, Home

ROOT = Path(__file__).parents[2]


def fake_plan(home: Home, ports: Mapping[str, int], credentials: Credentials) -> children.Plan:
    """Give the real plan with each service replaced by its stand-in."""
    real = children.plan(home, ports, credentials)

    def stand_in(spec: children.ChildSpec) -> children.ChildSpec:
        command = (sys.executable, __file__, "serve", spec.name, str(ports[spec.name]))
        return dataclasses.replace(spec, command=command, stop_s=5.0)

    return children.Plan(
        store=real.store,
        analysts=tuple(stand_in(spec) for spec in real.analysts),
        gateway=stand_in(real.gateway),
    )


async def up(home: Path) -> None:
    """Run until SIGTERM, telling events as `linnet up --json` does."""
    from linnet_sdk.cli import output
    from linnet_sdk.cli.up import run_until_stopped
    from linnet_sdk.local.mode import LocalMode

    await run_until_stopped(
        Home(home),
        output.make_console(),
        json=True,
        make_mode=lambda home, on_event: LocalMode(home, on_event=on_event, planner=fake_plan),
    )


def serve(name: str, port: int) -> None:
    """Serve until SIGTERM."""
    from tests.fakes.training_service import FakeTrainingService, serving

    print(f"{name} begins on {port}", flush=True)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with serving(FakeTrainingService(), port):
        stopped.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "up":
        asyncio.run(up(Path(sys.argv[2])))
    else:
        serve(sys.argv[2], int(sys.argv[3]))
