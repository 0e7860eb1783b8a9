"""What an object store answers is told as an error of ours."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from linnet_runtime.errors import Unavailable
from linnet_runtime.s3 import S3Location, S3Store

_STARTING = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>XMinioServerNotInitialized</Code>
<Message>Server not initialized yet, please try again.</Message>
<Resource>/runs</Resource><RequestId>1</RequestId><HostId>2</HostId></Error>"""


class Starting(BaseHTTPRequestHandler):
    """Answers every question as MinIO does while it starts."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(_STARTING)))
        self.end_headers()
        self.wfile.write(_STARTING)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def starting() -> Iterator[S3Store]:
    with HTTPServer(("127.0.0.1", 0), Starting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield S3Store(S3Location(f"http://127.0.0.1:{server.server_port}", "key", "secret", "runs"))
        server.shutdown()


def test_a_store_that_is_starting_is_away(starting: S3Store) -> None:
    """Whatever code of its own it gives to HTTP's 503, the call is worth another attempt."""
    with pytest.raises(Unavailable, match="XMinioServerNotInitialized"):
        list(starting.list(""))
