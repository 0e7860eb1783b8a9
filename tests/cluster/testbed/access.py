"""Kubeconfig files, and the few API reads that waiting for the cluster needs."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .certificates import KeyPair
from .places import NODE_ADDRESS

API_PORT = 6443
SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"
_TIMEOUT_S = 2.0


def write_kubeconfig(path: Path, user: str, pair: KeyPair, authority: bytes) -> Path:
    """Write a kubeconfig that presents `pair`, with everything inside the one file."""
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "linnet-testbed",
        "clusters": [
            {
                "name": "linnet-testbed",
                "cluster": {
                    "server": SERVER,
                    "certificate-authority-data": _base64(authority),
                },
            }
        ],
        "contexts": [
            {
                "name": "linnet-testbed",
                "context": {"cluster": "linnet-testbed", "user": user},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(pair.certificate),
                    "client-key-data": _base64(pair.key),
                },
            }
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(configuration, indent=2))
    return path


@dataclass(frozen=True, slots=True)
class ApiReader:
    """Reads from the API server with a client certificate, from inside the cluster's network."""

    context: ssl.SSLContext

    @classmethod
    def of(cls, authority: Path, certificate: Path, key: Path) -> ApiReader:
        """A reader that trusts `authority` and shows `certificate`."""
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(certificate, key)
        return cls(context)

    def get(self, path: str) -> str | None:
        """The body at `path`; None while the server does not answer with success."""
        try:
            with urllib.request.urlopen(
                SERVER + path, timeout=_TIMEOUT_S, context=self.context
            ) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError):
            return None

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        return self.get("/readyz") == "ok"

    def node_ready(self, name: str) -> bool:
        """Whether the node reports the condition Ready."""
        text = self.get(f"/api/v1/nodes/{name}")
        node: dict[str, Any] = json.loads(text) if text else {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
