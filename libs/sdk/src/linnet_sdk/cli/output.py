"""Where lines go: rich in a terminal, plain when piped, JSON when asked for."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console

_PIPED_WIDTH = 200


def make_console() -> Console:
    """Make the console of standard output; piped, it is wide and without colours."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(
        width=_PIPED_WIDTH, no_color=True, highlight=False, force_terminal=False, emoji=False
    )


def as_dict(message: Message) -> dict[str, Any]:
    """Give the contract's JSON mapping of a message, with the contract's names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def print_json(content: Message | Mapping[str, Any]) -> None:
    """Print one JSON document on one line, at once."""
    found = as_dict(content) if isinstance(content, Message) else content
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
