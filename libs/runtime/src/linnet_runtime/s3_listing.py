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

from linnet_runtime.errors import Unavailable
from linnet_runtime.objectstore import ObjectInfo
from linnet_runtime.signed_addresses import AddressSigner

_EXPIRES = timedelta(minutes=1)


class ListingRefused(Exception):
    """The store answered with an error."""


def list_objects(
    pool: urllib3.PoolManager, signer: AddressSigner, prefix: str
) -> Iterator[ObjectInfo]:
    """List the objects whose keys begin with `prefix`, in order of key.

    Raises:
        ListingRefused: The store answered with an error.
        Unavailable: It answered with something that is no list.
        urllib3.exceptions.HTTPError: It could not be asked.
    """
    token = ""
    while True:
        answer = pool.urlopen("GET", signer.listing(prefix, datetime.now(UTC), _EXPIRES, token))
        if answer.status != HTTPStatus.OK:
            raise ListingRefused(f"status {answer.status}")
        try:
            page = ET.fromstring(answer.data)  # noqa: S314 - our own store's
            space = page.tag[: page.tag.find("}") + 1]
            if page.tag != f"{space}ListBucketResult":
                raise Unavailable(f"object store: a document {page.tag} is no list")
            encoded = page.findtext(f"{space}EncodingType") == "url"
            for found in page.iter(f"{space}Contents"):
                key, size = found.findtext(f"{space}Key", ""), found.findtext(f"{space}Size", "")
                yield ObjectInfo(key=unquote_plus(key) if encoded else key, size_bytes=int(size))
        except (ET.ParseError, ValueError) as error:
            raise Unavailable(f"object store: a list that can't be read: {error}") from error
        if page.findtext(f"{space}IsTruncated") != "true":
            return
        token, before = page.findtext(f"{space}NextContinuationToken", ""), token
        if token in {"", before}:
            raise Unavailable("object store: a part of a list that does not say where it goes on")
