"""The command `linnet-gateway migrate`: brings the database to this release's schema, and ends."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial

from linnet_runtime import logs
from linnet_runtime.clock import SystemClock
from linnet_runtime.errors import InvalidInput, LinnetError
from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.database_url import DATABASE, database_url
from linnet_gateway.sql.schema_version import bring
from linnet_gateway.startup import reached


def main(arguments: Sequence[str]) -> int:
    """Apply what lacks; waits a minute for a database that is starting."""
    parser = argparse.ArgumentParser(
        prog="linnet-gateway migrate",
        description="Bring the database to the schema of this release; a later one stays.",
    )
    parser.add_argument("--database", default="", help=f"instead of {DATABASE}")
    chosen = parser.parse_args(arguments)
    logs.configure("WARNING")
    try:
        ask = partial(bring, database_url(chosen.database))
        before, after = asyncio.run(reached("database", ask, SystemClock()))
    except LinnetError as error:
        sys.stderr.write(f"linnet-gateway migrate: {error.message}\n")
        usage = isinstance(error, InvalidInput)
        return ExitCode.USAGE if usage else ExitCode.UNAVAILABLE
    sys.stdout.write(f"{_verdict(before, after)}\n")
    return ExitCode.OK


def _verdict(before: str, after: str) -> str:
    if before == after:
        return f"the schema is {after}: nothing to do"
    return f"the schema was {before or 'that of an empty database'}, it is {after} now"
