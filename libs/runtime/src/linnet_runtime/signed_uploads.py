"""Addresses that take one object of one size: S3's signature, version 4, over the length too.

The `minio` client signs the host only. AWS, "Authenticating Requests: Using Query Parameters
(Signature Version 4)", has the form.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_HEADERS = "content-length;host"


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """Where an object may be put.

    Attributes:
        url: The object's address, percent-encoded.
        region: The bucket's.
        size_bytes: Of the object.
    """

    url: str
    region: str
    size_bytes: int


def signed_upload(
    place: UploadPlace, who: tuple[str, str], now: datetime, expires: timedelta
) -> str:
    """Make the address of a PUT of exactly so many bytes.

    Args:
        place: What may be put where.
        who: Access key and secret key of whom the store lets.
        now: The present time, in UTC.
        expires: How long the address works, 1 s to 7 days.
    """
    access_key, secret_key = who
    parts = urlsplit(place.url)
    scope = f"{now:%Y%m%d}/{place.region}/s3/aws4_request"
    query = urlencode(
        sorted(
            {
                "X-Amz-Algorithm": _ALGORITHM,
                "X-Amz-Credential": f"{access_key}/{scope}",
                "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
                "X-Amz-Expires": str(int(expires.total_seconds())),
                "X-Amz-SignedHeaders": _HEADERS,
            }.items()
        ),
        quote_via=quote,
        safe="-_.~",
    )
    headers = f"content-length:{place.size_bytes}\nhost:{parts.netloc}\n"
    request = f"PUT\n{parts.path}\n{query}\n{headers}\n{_HEADERS}\nUNSIGNED-PAYLOAD"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    signing = f"{_ALGORITHM}\n{now:%Y%m%dT%H%M%SZ}\n{scope}\n{hashed}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, signing.encode(), "sha256").hex()
    return f"{place.url}?{query}&X-Amz-Signature={signature}"
