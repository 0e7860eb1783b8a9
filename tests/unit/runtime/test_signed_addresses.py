"""Signed addresses are those of the `minio` client, wherever the bucket is."""

from datetime import UTC, datetime, timedelta

import pytest
from linnet_runtime import s3
from linnet_runtime.s3 import S3Location, S3Store
from minio import Minio

LIFE = timedelta(minutes=90)
KEYS = ["up", "projects/p/runs/r/attempts/1/model int8+x.tflite", "grün/~a_b-c.d/(1)"]


class Clock(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        """Give the last second of a day."""
        return datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        ("http://127.0.0.1:9000", "linnet"),
        ("https://s3.eu-central-1.amazonaws.com", "linnet"),
        ("https://s3.eu-central-1.amazonaws.com", "dotted.bucket"),
    ],
)
def test_an_address_is_that_of_the_client(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str, method: str, key: str
) -> None:
    """Path-style and host-style buckets, with keys of any characters."""
    monkeypatch.setattr(s3, "datetime", Clock)
    location = S3Location(endpoint, "access/key", "secret", bucket, region="eu-central-1")
    scheme, _, host = endpoint.partition("://")
    client = Minio(
        endpoint=host,
        access_key="access/key",
        secret_key="secret",
        region="eu-central-1",
        secure=scheme == "https",
    )
    expected = client.get_presigned_url(
        method=method,
        bucket_name=bucket,
        object_name=key,
        expires=LIFE,
        request_date=Clock.now(),
    )
    assert S3Store(location).presign(method, key, LIFE) == expected
