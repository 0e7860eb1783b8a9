"""Addresses that do one thing, such as to get one object: S3's signature, version 4.

The `minio` client signs the host only, so that an upload may have any size, and derives the key of
the day anew for each of the dozen addresses of a run. AWS, "Authenticating Requests: Using Query
Parameters (Signature Version 4)", has the form.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


class AddressSigner:
    """Signs for the objects of one bucket; nothing is asked of the store.

    Args:
        bucket_url: Where the objects lie, with a slash at the end.
        region: The bucket's.
        access_key: Whom the store lets.
        secret_key: Its key, which no address shows.
    """

    def __init__(self, bucket_url: str, region: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(bucket_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._path = parts.path
        self._region = region
        self._access_key = access_key
        self._secret_key = secret_key

    def address(
        self,
        method: str,
        key: str,
        now: datetime,
        expires: timedelta,
        *,
        size_bytes: int | None = None,
    ) -> str:
        """Make the address of one object for one method.

        Args:
            method: GET or PUT.
            key: The object's.
            now: The present time, in UTC.
            expires: How long the address works, 1 s to 7 days.
            size_bytes: How long the body of a PUT has to be; any length if not given.
        """
        path = self._path + quote(key, safe=_UNRESERVED + "/")
        return self._signed(method, path, now, expires, size_bytes=size_bytes)

    def listing(self, prefix: str, now: datetime, expires: timedelta, token: str = "") -> str:
        """Make the address of a page of the list of objects whose keys begin with `prefix`.

        Args:
            prefix: What keys begin with; the answer has them as they stand in addresses.
            now: The present time, in UTC.
            expires: How long the address works.
            token: Where the page before said that the list goes on.
        """
        after = f"&continuation-token={quote(token, safe=_UNRESERVED)}" if token else ""
        asked = f"{after}&encoding-type=url&list-type=2&prefix={quote(prefix, safe=_UNRESERVED)}"
        return self._signed("GET", self._path, now, expires, asked=asked)

    def _signed(
        self,
        method: str,
        path: str,
        now: datetime,
        expires: timedelta,
        *,
        asked: str = "",
        size_bytes: int | None = None,
    ) -> str:
        day, second = f"{now:%Y%m%d}", f"{now:%Y%m%dT%H%M%SZ}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        signed = "host" if size_bytes is None else "content-length;host"
        length = "" if size_bytes is None else f"content-length:{size_bytes}\n"
        # In the order of their names, as the signature wants them; lower case comes last.
        query = (
            f"X-Amz-Algorithm={_ALGORITHM}"
            f"&X-Amz-Credential={quote(f'{self._access_key}/{scope}', safe=_UNRESERVED)}"
            f"&X-Amz-Date={second}"
            f"&X-Amz-Expires={int(expires.total_seconds())}"
            f"&X-Amz-SignedHeaders={quote(signed, safe=_UNRESERVED)}"
            f"{asked}"
        )
        request = (
            f"{method}\n{path}\n{query}\n{length}host:{self._host}\n\n{signed}\nUNSIGNED-PAYLOAD"
        )
        hashed = hashlib.sha256(request.encode()).hexdigest()
        signing = f"{_ALGORITHM}\n{second}\n{scope}\n{hashed}"
        key_of_day = _key_of_day(self._secret_key, scope)
        signature = hmac.digest(key_of_day, signing.encode(), "sha256").hex()
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"


@lru_cache(maxsize=4)
def _key_of_day(secret_key: str, scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
