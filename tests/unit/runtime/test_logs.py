"""What the log holds, and what it never does."""

import http.server
import io
import json
import logging
import threading
from collections.abc import Iterator

import httpx
import pytest
import urllib3
from linnet_runtime import logs


@pytest.fixture
def server() -> Iterator[str]:
    """A server that has nothing; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_presigned_addresses_are_not_logged(server: str, log: io.StringIO) -> None:
    """Neither client of the object store tells them, whatever the level."""
    address = f"{server}/bucket/key?X-Amz-Signature=5ec4e7"
    httpx.get(address, trust_env=False)
    with urllib3.PoolManager() as pool:
        pool.request("GET", address)
    logs.get("linnet.test").info("asked")
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in told if line["logger"] == "linnet.test"] == ["asked"]
    assert "5ec4e7" not in log.getvalue()
