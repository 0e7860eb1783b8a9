"""An object store that has whatever a finished attempt should have, and keeps datasets only.

Seventy thousand small objects would keep a real store busy for minutes on the cores that the
gateway is measured on. It speaks as much of S3 over HTTP/1.1 as the gateway asks for.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "linnet"
BODY = b"x"
_COPY = (
    b"<CopyObjectResult><ETag>0</ETag><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
    b"</CopyObjectResult>"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_COPIED = re.compile(rb"\r\nx-amz-copy-source: *(\S+)", re.IGNORECASE)
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)


class AbsentStore:
    """Answers requests; `names` are the files that every attempt has, of one byte each."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._kept: dict[str, bytes] = {}
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target = head.split(b" ", 2)[:2]
                writer.write(self._answer(method.decode(), target.decode(), head, body))
                self.requests += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, method: str, target: str, head: bytes, body: bytes) -> bytes:
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        if "prefix" in query:
            return _response(200, self._listing(query["prefix"][0]), "application/xml")
        if method == "PUT":
            copied = _COPIED.search(head)
            if copied:
                source = unquote(copied[1].decode()).lstrip("/").removeprefix(f"{BUCKET}/")
                self._kept[key] = self._kept[source]
                return _response(200, _COPY, "application/xml")
            if "/datasets/" in key:
                self._kept[key] = body
            return _response(200, b"", etag=hashlib.md5(body, usedforsecurity=False).hexdigest())
        if method == "POST":
            return _response(200, b"<DeleteResult/>", "application/xml")
        data = self._kept.get(key, BODY) if key else b""
        found = _RANGE.search(head)
        if found and method == "GET":
            first, last = int(found[1]), int(found[2] or len(data) - 1)
            data = data[first : last + 1]
        return _response(200, data, headless=method == "HEAD", etag="0" * 32)

    def _listing(self, prefix: str) -> bytes:
        objects = "".join(
            f"<Contents><Key>{prefix}{name}</Key><Size>{len(BODY)}</Size><ETag>0</ETag>"
            "<LastModified>2026-11-01T00:00:00.000Z</LastModified></Contents>"
            for name in self._names
        )
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix>"
            f"<IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
        ).encode()


def _response(
    status: int,
    body: bytes,
    kind: str = "application/octet-stream",
    *,
    headless: bool = False,
    etag: str = "",
) -> bytes:
    head = (
        f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\n"
        f'ETag: "{etag}"\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n\r\n'
    ).encode()
    return head if headless else head + body


@asynccontextmanager
async def serving(names: Sequence[str]) -> AsyncIterator[tuple[AbsentStore, str]]:
    """Serve on loopback; give the store and its endpoint."""
    store = AbsentStore(names)
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    async with server:
        yield store, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
