"""The file in which a process tells its supervisor where it serves."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_endpoints(path: Path, endpoints: Mapping[str, str]) -> None:
    """Write names and addresses as JSON, whole or not at all.

    Args:
        path: Where; its folder exists.
        endpoints: Such as `{"address": "127.0.0.1:50051"}`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(dict(endpoints)), encoding="utf-8")
    draft.replace(path)
