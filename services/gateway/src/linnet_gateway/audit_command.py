"""The command `linnet-gateway audit`: who changed what, and whether that is all there was."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from linnet_runtime.errors import InvalidInput, LinnetError
from linnet_runtime.lifecycle import ExitCode

from linnet_gateway.database_url import DATABASE, database_url
from linnet_gateway.sql.audit import AuditChain, AuditEntry, SqlAudit
from linnet_gateway.sql.database import Database

_EXIT_BROKEN = 1


def main(arguments: Sequence[str]) -> int:
    """Print entries, or verify the chain; gives the exit code, 1 for a chain that is broken."""
    chosen = _parser().parse_args(arguments)
    try:
        database = Database(_existing(database_url(chosen.database)))
        try:
            return asyncio.run(_run(SqlAudit(database, lambda: datetime.now(UTC)), chosen))
        finally:
            database.close()
    except InvalidInput as error:
        sys.stderr.write(f"linnet-gateway audit: {error.message}\n")
        return ExitCode.USAGE
    except LinnetError as error:
        sys.stderr.write(f"linnet-gateway audit: {error.message}\n")
        return ExitCode.UNAVAILABLE
    except BrokenPipeError:
        # Whoever read what was printed has seen enough; nothing may be flushed to him at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="linnet-gateway audit", description="Print the audit log, or verify it."
    )
    parser.add_argument("--project", default="", help="only what is about this project")
    parser.add_argument(
        "--since", type=_time, help="only from this time on, ISO 8601, UTC if it does not say"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="follow the chain of digests instead; exits 1 if broken",
    )
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        type=_expected,
        metavar="ID:DIGEST",
        help="with --verify: an entry that an earlier one printed as its last",
    )
    parser.add_argument("--database", default="", help=f"instead of {DATABASE}")
    return parser


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _expected(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    return int(number), digest


def _existing(url: str) -> str:
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        # SQLite would make an empty one.
        raise InvalidInput.of(DATABASE, "expected a database, there is no such file")
    return url


async def _run(audit: SqlAudit, chosen: argparse.Namespace) -> int:
    if chosen.verify:
        found = await audit.verify(dict(chosen.expect))
        sys.stdout.write(f"{_verdict(found, as_json=chosen.json)}\n")
        return _EXIT_BROKEN if found.broken is not None else ExitCode.OK
    async for entry in audit.entries(chosen.project, chosen.since):
        sys.stdout.write(f"{_line(entry, as_json=chosen.json)}\n")
    return ExitCode.OK


def _line(entry: AuditEntry, *, as_json: bool) -> str:
    time = entry.time.isoformat()
    if as_json:
        return json.dumps(
            {
                "id": entry.id,
                "time": time,
                "actor": entry.actor,
                "method": entry.method,
                "resource": entry.resource,
                "decision": entry.decision,
            }
        )
    parts = (time, entry.actor, entry.method, entry.resource or "-", entry.decision)
    # A subject is what an issuer says: no control character of it reaches a terminal.
    line = "  ".join(part if part.isprintable() else repr(part) for part in parts)
    return f"{entry.id:>8}  {line}"


def _verdict(found: AuditChain, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(
            {
                "entries": found.count,
                "last": f"{found.last_id}:{found.digest}" if found.count else "",
                "broken": found.broken,
                "pruned": found.pruned,
            }
        )
    if found.broken is not None:
        return f"BROKEN at entry {found.broken}: it was changed or is gone, or the one before it is"
    last = f", the last is {found.last_id}:{found.digest}" if found.count else ""
    gone = f"; {found.pruned} that were expected are pruned" if found.pruned else ""
    return f"{found.count} entries are as they were written{last}{gone}"
