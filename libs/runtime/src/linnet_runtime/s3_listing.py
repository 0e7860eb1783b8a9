"""Lists objects of a bucket in half the processor time that the `minio` client needs.

A gateway looks at what each attempt has uploaded: the client's signing and its reading of fields
that nobody asks for were a tenth of all that a run of a batch costs.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import urllib3

from linnet_runtime.objectstore import ObjectInfo
from linnet_runtime.signed_addresses import AddressSigner

_EXPIRES = timedelta(minutes=5)


class ListingRefused(Exception):
    """The store answered otherwise than with a list."""


def list_objects(
    pool: urllib3.PoolManager, signer: AddressSigner, prefix: str
) -> Iterator[ObjectInfo]:
    """List the objects whose keys begin with `prefix`, in order of key.

    Raises:
        ListingRefused: The store answered with an error.
        urllib3.exceptions.HTTPError: It could not be asked.
    """
    token = ""
    while True:
        address = signer.listing(prefix, datetime.now(UTC), _EXPIRES, token)
        answer = pool.urlopen("GET", address)
        if answer.status != HTTPStatus.OK:
            raise ListingRefused(f"status {answer.status}")
        try:
            page = ET.fromstring(answer.data)  # noqa: S314 - our own store's
        except ET.ParseError as error:
            raise ListingRefused(str(error)) from error
        space = page.tag[: page.tag.find("}") + 1]
        for found in page.iter(f"{space}Contents"):
            key, size = found.findtext(f"{space}Key"), found.findtext(f"{space}Size")
            yield ObjectInfo(key=unquote_plus(key or ""), size_bytes=int(size or 0))
        if page.findtext(f"{space}IsTruncated") != "true":
            return
        token = page.findtext(f"{space}NextContinuationToken") or ""
