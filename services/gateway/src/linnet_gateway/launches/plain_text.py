"""What a trainer printed as text that every record, message and terminal can take. Pure."""

import re

LONGEST_LINE = 1000
"""Characters of a line that is kept."""
_CUT = " …"

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, moves, erasing
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(line: str, limit: int = LONGEST_LINE) -> str:
    """Give one line without what commands a terminal, no longer than `limit` characters.

    Half a pair of surrogates, which neither a message nor a database can carry, becomes a question
    mark. Marks that turn the direction of writing go too: they show what is not there.
    """
    line = line[: 8 * limit]
    text = _CONTROL.sub("", _SEQUENCE.sub("", line)).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT
