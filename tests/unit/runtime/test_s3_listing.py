"""What a store may answer when it is asked for a list."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from linnet_runtime.errors import Unavailable
from linnet_runtime.objectstore import ObjectInfo
from linnet_runtime.s3 import S3Location, S3Store

_CONTENTS = "<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"


def listing(inside: str, space: str = "") -> str:
    """Give a list as a store answers it."""
    return f"<ListBucketResult{space}>{inside}</ListBucketResult>"


@contextmanager
def store(*answers: str) -> Iterator[tuple[S3Store, list[str]]]:
    """Serve answers one after the other, the last again and again; give what was asked too."""
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers[min(len(asked), len(answers) - 1)].encode()
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield S3Store(S3Location(f"http://127.0.0.1:{server.server_port}", "k", "s", "runs")), asked
        server.shutdown()


def test_pages_are_asked_for_until_the_last() -> None:
    """With and without a namespace; keys are decoded where the store says that it encoded them."""
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=</NextContinuationToken>"
    first = listing(
        f"{more}<EncodingType>url</EncodingType>{_CONTENTS.format(key='a%2Bb', size=1)}"
    )
    space = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    with store(first, listing(_CONTENTS.format(key="a+b%41", size=2), space)) as (asking, asked):
        assert list(asking.list("a")) == [ObjectInfo("a+b", 1), ObjectInfo("a+b%41", 2)]
    assert len(asked) == 2
    assert "&continuation-token=a%2B%2F%3D&" in asked[1]


@pytest.mark.parametrize(
    "answer",
    [
        "<html><body>log in</body></html>",
        "{}",
        listing(_CONTENTS.format(key="a", size="much")),
        listing("<IsTruncated>true</IsTruncated>"),
        listing("<IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"),
    ],
    ids=["a page", "no XML", "no size", "no token", "the same token"],
)
def test_what_is_no_list_is_no_empty_list(answer: str) -> None:
    """Nor one without an end: whoever asks is told that the store is not well."""
    with store(answer) as (asking, asked), pytest.raises(Unavailable):
        asking.list("")
    assert len(asked) <= 8
