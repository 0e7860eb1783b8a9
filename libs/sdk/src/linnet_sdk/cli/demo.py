"""`linnet demo`."""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from linnet_sdk import examples
from linnet_sdk.cli import options
from linnet_sdk.cli.exit_codes import CommandExit
from linnet_sdk.cli.following import follow
from linnet_sdk.cli.output import make_console, print_json
from linnet_sdk.cli.report import has_renderer, read_explorer, show_report, write_page
from linnet_sdk.cli.up import listen_for_signals, tell
from linnet_sdk.client import Client
from linnet_sdk.demo import EXAMPLES, Outcome, demonstrate
from linnet_sdk.local.home import Home, HomeIsHeld
from linnet_sdk.local.mode import LocalMode
from linnet_sdk.names import short_name
from linnet_sdk.server_address import ServerAddress, resolve

REPORT_PAGE = "report.html"


def demo(
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Train on real smartwatch recordings, judge the result and size it for a microcontroller.

    Starts Linnet on this machine for as long as it takes, or uses the one that runs. With --json
    the last line of standard output is the result; progress goes to standard error.
    """
    begun = time.monotonic()
    console = Console(stderr=True, highlight=False) if json else make_console()
    place = Home(options.home_path(home))
    named = server or os.environ.get("LINNET_SERVER")
    address = resolve(server, token, place.path, os.environ) if named else None
    outcome = asyncio.run(_run(place, address, project, console, begun=begun))
    if outcome is None:
        raise typer.Exit(CommandExit.INTERRUPTED)
    if outcome.report is not None:
        show_report(outcome.report, console)
    _show_places(outcome, console)
    if address is None:
        again = f"The server again: linnet up --home {place.path}"
        console.print(again, markup=False, soft_wrap=True)
    if json:
        print_json(outcome.as_json())
    if not outcome.succeeded:
        raise typer.Exit(CommandExit.RUN_DID_NOT_SUCCEED)


async def _run(
    home: Home, address: ServerAddress | None, project: str, console: Console, *, begun: float
) -> Outcome | None:
    """Run the demonstration; None when a signal ended it."""
    stopping = asyncio.Event()
    mode = LocalMode(home, on_event=lambda event: tell(event, console, json=False))
    listen_for_signals(stopping, mode)
    working = asyncio.create_task(_work(mode, address, project, console, begun=begun))
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
        return None
    asked.cancel()
    return await working


async def _work(
    mode: LocalMode,
    address: ServerAddress | None,
    project: str,
    console: Console,
    *,
    begun: float,
) -> Outcome:
    async with contextlib.AsyncExitStack() as stack:
        makers = stack.enter_context(ThreadPoolExecutor(1, "examples"))
        making = {name: makers.submit(examples.load, name) for name in EXAMPLES}
        if address is None:
            address = await _reach(mode, stack, console)
        client = stack.enter_context(Client(address, project=project))
        outcome = await asyncio.to_thread(
            demonstrate,
            client,
            making,
            folder=mode.home.path / "demo",
            follow=lambda run: follow(client.watch(run), console, json=False),
            say=lambda text: console.print(text, markup=False, soft_wrap=True),
            begun=begun,
        )
        return await asyncio.to_thread(_with_page, client, outcome, mode.home.path / "demo")


async def _reach(
    mode: LocalMode, stack: contextlib.AsyncExitStack, console: Console
) -> ServerAddress:
    try:
        await stack.enter_async_context(mode)
    except HomeIsHeld:
        console.print(
            f"using the server that runs on {escape(str(mode.home.path))}", soft_wrap=True
        )
        return resolve(None, None, mode.home.path, {})
    return mode.endpoints.server


def _with_page(client: Client, outcome: Outcome, folder: Path) -> Outcome:
    if outcome.report is None or not has_renderer():
        return outcome
    page = folder / short_name(outcome.run) / REPORT_PAGE
    write_page(outcome.report, page, read_explorer(client, outcome.report))
    outcome.artifacts[REPORT_PAGE] = str(page)
    return outcome


def _show_places(outcome: Outcome, console: Console) -> None:
    console.print()
    for name, place in outcome.artifacts.items():
        console.print(f"{name:<24} {place}", markup=False, soft_wrap=True)
    took = f"{outcome.seconds['total']:.1f} s, {outcome.seconds['train']:.1f} s of them training"
    console.print(f"{outcome.state} in {took}.")
