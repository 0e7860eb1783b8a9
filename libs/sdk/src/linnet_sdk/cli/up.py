"""`linnet up`."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from linnet_sdk.cli import options
from linnet_sdk.cli.output import make_console, print_json
from linnet_sdk.local.child import Died, Event, Serving
from linnet_sdk.local.home import Home
from linnet_sdk.local.mode import LocalMode


def up(*, home: options.HomeFolder = None, json: options.Json = False) -> None:
    """Run object store, gateway, evaluator and profiler on this machine until Ctrl-C.

    All state lives in one folder. The command line finds the running server by itself.
    """
    console = make_console()
    asyncio.run(run_until_stopped(Home(options.home_path(home)), console, json=json))


def _usual_mode(home: Home, on_event: Callable[[Event], None]) -> LocalMode:
    return LocalMode(home, on_event=on_event)


async def run_until_stopped(
    home: Home,
    console: Console,
    *,
    json: bool,
    make_mode: Callable[[Home, Callable[[Event], None]], LocalMode] = _usual_mode,
) -> None:
    """Run local mode, telling its events, until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    mode = make_mode(home, lambda event: tell(event, console, json=json))
    listen_for_signals(stopping, mode)
    serving = asyncio.create_task(_serve(mode, console, json=json))
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        asked.cancel()
        await serving
        return
    _say(console, "stopping", {"event": "stopping"}, json=json)
    serving.cancel()
    await asyncio.wait({serving})
    _say(console, "stopped", {"event": "stopped"}, json=json)


async def _serve(mode: LocalMode, console: Console, *, json: bool) -> None:
    async with mode:
        _welcome(mode, console, json=json)
        await mode.watch()


def listen_for_signals(stopping: asyncio.Event, mode: LocalMode) -> None:
    """Stop at the first SIGINT or SIGTERM, and kill at the second."""

    def arrived() -> None:
        if stopping.is_set():
            mode.kill()
        stopping.set()

    loop = asyncio.get_running_loop()
    for which in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(which, arrived)


def tell(event: Event, console: Console, *, json: bool) -> None:
    """Print that a process serves, or how it died."""
    if isinstance(event, Serving):
        _say(
            console,
            f"{event.name} serves (pid {event.pid}, {event.seconds:.1f} s)",
            {"event": "serving", "process": event.name, "pid": event.pid},
            json=json,
        )
        return
    _say(
        console,
        _death(event),
        {
            "event": "died",
            "process": event.name,
            "pid": event.pid,
            "how": event.how,
            "lines": list(event.lines),
            "restart_seconds": event.restart_s,
        },
        json=json,
    )


def _death(event: Died) -> str:
    head = (
        f"[red]{event.name} died[/] (pid {event.pid}): {event.how}; "
        f"it is started again in {event.restart_s:.1f} s"
    )
    return "\n".join([head, *(f"  [dim]{escape(line)}[/]" for line in event.lines)])


def _welcome(mode: LocalMode, console: Console, *, json: bool) -> None:
    endpoints = mode.endpoints
    if json:
        print_json(
            {
                "event": "up",
                "address": endpoints.server.target,
                "http": endpoints.http,
                "metrics": endpoints.metrics,
                "home": str(mode.home.path),
            }
        )
        return
    console.print(f"[bold green]Linnet is up[/] at {endpoints.server.target}", soft_wrap=True)
    console.print(f"  home     {escape(str(mode.home.path))}", soft_wrap=True)
    console.print(f"  http     {endpoints.http}", soft_wrap=True)
    for name, page in endpoints.metrics.items():
        console.print(f"  metrics  {page} ({name})", soft_wrap=True)
    console.print(
        "Ctrl-C stops it. In another terminal: linnet demo, linnet runs list", soft_wrap=True
    )


def _say(console: Console, text: str, content: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(content)
    else:
        console.print(text, soft_wrap=True)
