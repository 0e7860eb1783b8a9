"""The object store on any S3, mostly through the `minio` client; its only importer."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from linnet_runtime.errors import InvalidInput, NotFound, Unavailable
from linnet_runtime.objectstore import ObjectInfo
from linnet_runtime.s3_listing import ListingRefused, list_objects
from linnet_runtime.signed_addresses import AddressSigner
from linnet_runtime.store_metrics import MeteredPool, StoreMetrics

_TRANSIENT_CODES = {"InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout"}

_COPY_PART_BYTES = 512 * 1024**2
"""What a store copies in one call: more may take it longer than a call may last."""

_again = retry(
    retry=retry_if_exception_type(Unavailable),
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.1, max=2.0),
    reraise=True,
)


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a bucket is and who we are there.

    Attributes:
        endpoint: `http://host:port` as this process reaches the store.
        public_endpoint: The same as those reach it who get presigned addresses; they name it,
            since a signature binds the host. Empty means `endpoint`.
    """

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    public_endpoint: str = ""
    region: str = "us-east-1"


def _pool(metrics: StoreMetrics | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=2.0, read=60.0),
        "maxsize": 32,
        "retries": False,
    }
    return urllib3.PoolManager(**options) if metrics is None else MeteredPool(metrics, **options)


def _client(location: S3Location, endpoint: str, pool: urllib3.PoolManager) -> Minio:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InvalidInput.of(
            "store_endpoint", f"expected http://host:port or https://host, received {endpoint!r}"
        )
    return Minio(
        endpoint=parts.netloc,
        access_key=location.access_key,
        secret_key=location.secret_key,
        region=location.region,
        secure=parts.scheme == "https",
        http_client=pool,
    )


def _signer(location: S3Location, client: Minio) -> AddressSigner:
    """Sign for the bucket at a client's endpoint; whether by path or by host is the client's."""
    address = client.get_presigned_url(method="GET", bucket_name=location.bucket, object_name="-")
    return AddressSigner(
        address.partition("?")[0].removesuffix("-"),
        location.region,
        location.access_key,
        location.secret_key,
    )


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in {"NoSuchKey", "NoSuchObject", "NoSuchBucket"}:
            raise NotFound("object", key) from error
        # Stores have codes of their own for it, such as MinIO while it starts.
        if (
            error.code in _TRANSIENT_CODES
            or error.response.status == HTTPStatus.SERVICE_UNAVAILABLE
        ):
            raise Unavailable(f"object store: {error.code} for {key}") from error
        raise
    except (InvalidResponseError, ServerError, urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"object store can't be reached: {type(error).__name__}") from error


class S3Store:
    """One bucket of an S3 store.

    Args:
        location: Where it is.
        metrics: What counts the calls, if anything does.
    """

    def __init__(self, location: S3Location, metrics: StoreMetrics | None = None) -> None:
        self._bucket = location.bucket
        self._pool = _pool(metrics)
        self._minio = _client(location, location.endpoint, self._pool)
        self._own_signer = _signer(location, self._minio)
        public = location.public_endpoint or location.endpoint
        self._signer = _signer(location, _client(location, public, self._pool))

    @_again
    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Store an object, replacing one of the same key."""
        with _translated(key):
            self._minio.put_object(
                bucket_name=self._bucket,
                object_name=key,
                data=BytesIO(data),
                length=len(data),
                content_type=content_type,
            )

    @_again
    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Read an object, or `length` bytes of it from `offset`."""
        with _translated(key):
            response = self._minio.get_object(
                bucket_name=self._bucket, object_name=key, offset=offset, length=length or 0
            )
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    @_again
    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store, replacing one of the target's key."""
        size = self.stat(source).size_bytes
        with _translated(source):
            if size <= _COPY_PART_BYTES:
                self._minio.copy_object(
                    bucket_name=self._bucket,
                    object_name=target,
                    source=CopySource(self._bucket, source),
                )
                return
            parts = [
                ComposeSource(
                    self._bucket, source, offset=at, length=min(_COPY_PART_BYTES, size - at)
                )
                for at in range(0, size, _COPY_PART_BYTES)
            ]
            self._minio.compose_object(bucket_name=self._bucket, object_name=target, sources=parts)

    @_again
    def stat(self, key: str) -> ObjectInfo:
        """Say how large an object is."""
        with _translated(key):
            found = self._minio.stat_object(bucket_name=self._bucket, object_name=key)
        return ObjectInfo(key=key, size_bytes=int(found.size or 0))

    @_again
    def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """List the objects whose keys begin with `prefix`, in order of key."""
        with _translated(prefix):
            try:
                return list(list_objects(self._pool, self._own_signer, prefix))
            except ListingRefused:
                # The client asks again: it knows what every answer of a store means.
                found = self._minio.list_objects(self._bucket, prefix=prefix, recursive=True)
                return [ObjectInfo(str(o.object_name), int(o.size or 0)) for o in found]

    @_again
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys that do not exist are passed over."""
        doomed = [DeleteObject(key) for key in keys]
        with _translated("delete"):
            for problem in self._minio.remove_objects(
                bucket_name=self._bucket, delete_object_list=doomed
            ):
                if problem.code != "NoSuchKey":
                    raise Unavailable(f"object store: {problem.code} deleting {problem.name}")

    def presign(
        self, method: str, key: str, expires: timedelta, *, size_bytes: int | None = None
    ) -> str:
        """Make an address with which anyone may GET or PUT this one object until it expires."""
        return self._signer.address(method, key, datetime.now(UTC), expires, size_bytes=size_bytes)

    def ping(self) -> None:
        """Make sure that the bucket can be reached."""
        with _translated(self._bucket):
            if not self._minio.bucket_exists(bucket_name=self._bucket):
                raise NotFound("bucket", self._bucket)

    @_again
    def create_bucket(self) -> None:
        """Make the bucket if it does not exist."""
        with _translated(self._bucket):
            if self._minio.bucket_exists(bucket_name=self._bucket):
                return
            try:
                self._minio.make_bucket(bucket_name=self._bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
