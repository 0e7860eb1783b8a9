"""A command's connection and its output: what every command that speaks to a gateway shares."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from rich.console import Console, RenderableType

from linnet_sdk.cli import options
from linnet_sdk.cli.output import make_console, print_json
from linnet_sdk.client import Client

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "server": (options.Server, None),
    "token": (options.Token, None),
    "home": (options.HomeFolder, None),
    "project": (options.Project, "default"),
    "json": (options.Json, False),
}


@dataclass(frozen=True, slots=True)
class Session:
    """An open client, and where its answers are shown.

    Attributes:
        client: Speaks to the gateway that the options name.
        console: Standard output, for people.
        json: Whether programs read: documents of the contract instead of tables.
    """

    client: Client
    console: Console
    json: bool

    def show(
        self, content: Message | Mapping[str, Any], for_people: Callable[[], RenderableType]
    ) -> None:
        """Print a document with --json, else what `for_people` makes."""
        if self.json:
            print_json(content)
        else:
            self.console.print(for_people(), soft_wrap=True)


@contextmanager
def _opened(
    server: str | None, token: str | None, home: Path | None, project: str, *, json: bool
) -> Iterator[Session]:
    with options.connect(server, token, home, project) as client:
        yield Session(client, make_console(), json)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first argument is a session.

    The command has the function's other arguments, and the options that name the gateway.
    """
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]

    @wraps(command)
    def wrapped(**values: Any) -> None:
        given = {name: values.pop(name) for name in _OPTIONS}
        with _opened(**given) as session:
            command(session, **values)

    as_keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapped.__signature__ = inspect.Signature([*as_keywords, *shared])  # type: ignore[attr-defined]  # read by inspect, unknown to typeshed
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    return wrapped
