"""Finds the gateway of this shell: what the environment names, or the local mode that runs here."""

import os
from pathlib import Path

from linnet_sdk.local.home import default_home
from linnet_sdk.server_address import ServerAddress, Token, resolve


def find_server(
    server: str | None = None, token: Token | None = None, home: Path | None = None
) -> ServerAddress:
    """Find the gateway as the `linnet` command does.

    Args:
        server: `host:port` or `https://host`; else LINNET_SERVER, else the running local mode.
        token: API token, or a function that gives the one that is good now; else LINNET_TOKEN, else
            what LINNET_TOKEN_FILE holds at each call, else the local mode's own.
        home: Folder of the local mode; else LINNET_HOME, else the user's data folder.

    Raises:
        InvalidInput: The address can't be read.
        Unavailable: None is named and no local mode runs.
    """
    return resolve(server, token, home or default_home(os.environ), os.environ)
