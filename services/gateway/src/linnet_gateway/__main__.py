"""The gateway as a process."""

import asyncio
import gc
import sys
from contextlib import AsyncExitStack

from linnet_runtime import logs
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput, Unavailable
from linnet_runtime.lifecycle import ExitCode, until_terminated

from linnet_gateway import audit_command, migrate_command
from linnet_gateway.assembly import Gateway
from linnet_gateway.settings import GatewaySettings

_COMMANDS = {"audit": audit_command.main, "migrate": migrate_command.main}
_SWITCH_S = 0.0005
_NEW_OBJECTS = 20_000
"""Objects after which the youngest are collected; Python's own 700 is for small programs."""


async def _serve(settings: GatewaySettings) -> None:
    # Signals are heard from the first moment on: a gateway that is starting can be stopped.
    terminated = asyncio.create_task(until_terminated())
    await asyncio.sleep(0)
    async with AsyncExitStack() as stack:
        gateway = Gateway(settings, SystemClock())
        starting = asyncio.create_task(stack.enter_async_context(gateway))
        await asyncio.wait({starting, terminated}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return
        starting.result()
        _spare_collector()
        await terminated


def _spare_collector() -> None:
    # What starting made stays for ever: no collection has to look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 50)


def main() -> int:
    """Serve until SIGTERM or SIGINT, or do what the arguments say."""
    if len(sys.argv) > 1:
        name, *arguments = sys.argv[1:]
        if name not in _COMMANDS:
            known = ", ".join(_COMMANDS)
            sys.stderr.write(f"linnet-gateway: expected {known} or nothing, received {name!r}\n")
            return ExitCode.USAGE
        return _COMMANDS[name](arguments)
    try:
        settings = GatewaySettings.read()
    except InvalidInput as error:
        for violation in error.violations:
            print(f"{violation.field}: {violation.description}", file=sys.stderr)  # noqa: T201 - before logging is set up
        return ExitCode.USAGE
    logs.configure(settings.log_level)
    # Threads that read records or write metrics must not keep the event loop waiting for long.
    sys.setswitchinterval(_SWITCH_S)
    try:
        asyncio.run(_serve(settings))
    except InvalidInput as error:
        # A file that a setting names can't be used.
        logs.get("linnet.gateway").critical("not_started", reason=error.reason, error=error.message)
        return ExitCode.USAGE
    except Unavailable as error:
        # What it needs to begin stayed away, or is not ready for it.
        logs.get("linnet.gateway").critical("not_started", reason=error.reason, error=error.message)
        return ExitCode.UNAVAILABLE
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
