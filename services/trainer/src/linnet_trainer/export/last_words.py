"""What a converter or an interpreter writes past Python, kept in case it ends its process.

Lines go to a file of the run's folder; of a child that was lost its parent reads the last ones.
"""

import contextlib
import os
import re
from pathlib import Path

from linnet_trainer.file_names import LAST_WORDS

_MOST_LINES = 3
_LONGEST = 300
_READ_BYTES = 16_384
_NOTHING = re.compile(
    r"\s*$|\[RecordingMicroAlloc|(INFO|WARNING)\b|[IW]\d{4} |fully_quantize: |Current thread"
)
"""Lines that tell no reason: notes, warnings, and what the quantizer says each time."""


def keep(folder: Path) -> None:
    """Send this process' output and errors to a new file of a folder; Python's own chatter nowhere.

    Args:
        folder: Where the file goes; without room in it all is lost.
    """
    import faulthandler
    import logging
    import warnings

    faulthandler.disable()
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        file = os.open(folder / LAST_WORDS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def said(folder: Path) -> str:
    """Give the last lines of the file, joined; nothing where there is none."""
    try:
        with (folder / LAST_WORDS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip()[:_LONGEST] for line in text.splitlines() if not _NOTHING.match(line)]
    return "; ".join(lines[-_MOST_LINES:])


def forget(folder: Path) -> None:
    """Take the file away."""
    with contextlib.suppress(OSError):
        (folder / LAST_WORDS).unlink()


def with_words(reason: str, folder: Path) -> str:
    """Add the last words in a folder to how a child ended."""
    words = said(folder)
    return f"{reason}, it said: {words}" if words else reason
