"""What an image is made of, as one digest: its recipe, what that copies, and its arguments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

_COPY = "COPY "
_FROM_STAGE = "--from="
_IGNORED = "__pycache__"


def digest(dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> str:
    """Give the same text for the same image.

    Args:
        dockerfile: The recipe; each of its COPYs is one line.
        context: The folder that it copies from.
        arguments: Its ARGs, the bases among them.
    """
    made_of = hashlib.sha256(json.dumps(sorted(arguments.items())).encode())
    made_of.update(dockerfile.read_bytes())
    for path in sorted(set(_files(dockerfile, context))):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = [str(path.relative_to(context)), path.stat().st_mode, content]
        made_of.update(json.dumps(entry).encode())
    return made_of.hexdigest()


def _files(dockerfile: Path, context: Path) -> Iterator[Path]:
    ignored = context / ".dockerignore"
    if ignored.exists():
        yield ignored
    for line in dockerfile.read_text().splitlines():
        if not line.startswith(_COPY) or _FROM_STAGE in line:
            continue
        for source in line.split()[1:-1]:
            place = context / source
            found = place.rglob("*") if place.is_dir() else [place]
            yield from (one for one in found if one.is_file() and _IGNORED not in one.parts)
