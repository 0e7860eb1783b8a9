"""Options that several sub-commands share, and the client that they lead to."""

import os
from pathlib import Path
from typing import Annotated

import typer

from linnet_sdk.client import Client
from linnet_sdk.local.home import default_home
from linnet_sdk.server_search import find_server

Server = Annotated[
    str | None,
    typer.Option("--server", help="Gateway, host:port or https://host. Else LINNET_SERVER."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", help="API token of the gateway. Else LINNET_TOKEN or LINNET_TOKEN_FILE."
    ),
]
Project = Annotated[str, typer.Option("--project", help="Project that short names belong to.")]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the local mode. Else LINNET_HOME, else user data."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]


def home_path(home: Path | None) -> Path:
    """Give the local mode's folder."""
    return home or default_home(os.environ)


def connect(server: str | None, token: str | None, home: Path | None, project: str) -> Client:
    """Open a client for the gateway that the options and the environment name."""
    return Client(find_server(server, token, home), project=project)
