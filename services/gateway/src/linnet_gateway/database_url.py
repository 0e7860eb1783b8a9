"""Where commands beside the gateway find its database."""

import os
from pathlib import Path

from linnet_runtime.errors import InvalidInput

DATABASE = "LINNET_GATEWAY_DATABASE_URL"


def database_url(given: str) -> str:
    """Give the URL of an argument, else that of the gateway's own variables.

    Raises:
        InvalidInput: Neither names one.
    """
    found = given or os.environ.get(DATABASE, "")
    if not found and (path := os.environ.get(f"{DATABASE}_FILE")):
        found = Path(path).read_text(encoding="utf-8").strip()
    if not found:
        raise InvalidInput.of(DATABASE, "expected the URL of the gateway's database, received none")
    return found
