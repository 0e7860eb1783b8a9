"""What the processes printed: files that stay small, and their last lines for people."""

import json
from pathlib import Path

ROTATE_BYTES = 10_000_000
_TAIL_BYTES = 32_768
_SHOWN_APART = {"event", "level", "logger", "timestamp", "exception"}


def rotate(path: Path, limit_bytes: int = ROTATE_BYTES) -> None:
    """Put a file that has grown large aside as `NAME.1`, replacing the one before."""
    if path.exists() and path.stat().st_size > limit_bytes:
        path.replace(path.with_name(path.name + ".1"))


def last_lines(path: Path, count: int, *, since_byte: int = 0) -> list[str]:
    """Give the last lines printed after `since_byte`, log events as text."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            start = max(min(since_byte, end), end - _TAIL_BYTES)
            file.seek(start)
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = [line for entry in text.splitlines() for line in readable(entry)]
    return [line for line in lines if line.strip()][-count:]


def readable(line: str) -> list[str]:
    """Make lines for people of one printed line, which may be a JSON log event."""
    try:
        event = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(event, dict) or "event" not in event:
        return [line]
    rest = " ".join(f"{k}={v}" for k, v in event.items() if k not in _SHOWN_APART)
    head = f"{event.get('level', 'info')}: {event['event']} {rest}".rstrip()
    return [head, *str(event.get("exception", "")).splitlines()]
