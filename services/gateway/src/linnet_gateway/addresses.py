"""Addresses at which their holder may read or put one file, without credentials."""

from datetime import timedelta

from linnet.v1 import dataset_pb2
from linnet_runtime.clock import Clock
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.converters import set_time
from linnet_gateway.records import FileRecord

UPLOAD_LIFE = timedelta(hours=1)
DOWNLOAD_LIFE = timedelta(minutes=15)
_MAX_LIFE = timedelta(days=7)
"""The longest that S3 signs for."""


class Addresses:
    """Makes presigned addresses; nothing is asked of the store."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def upload(
        self, file: FileRecord, life: timedelta = UPLOAD_LIFE
    ) -> dataset_pb2.PresignedRequest:
        """Make an address to put a file of the record's size to."""
        return self._made("PUT", file, life, size_bytes=file.size_bytes)

    def download(
        self, file: FileRecord, life: timedelta = DOWNLOAD_LIFE
    ) -> dataset_pb2.PresignedRequest:
        """Make an address to read a file from."""
        return self._made("GET", file, life)

    def _made(
        self, method: str, file: FileRecord, life: timedelta, *, size_bytes: int | None = None
    ) -> dataset_pb2.PresignedRequest:
        life = min(life, _MAX_LIFE)
        request = dataset_pb2.PresignedRequest(
            name=file.name,
            method=method,
            url=self._store.presign(method, file.key, life, size_bytes=size_bytes),
            size_bytes=file.size_bytes,
            sha256=file.sha256,
        )
        set_time(request.expire_time, self._clock.now() + life)
        return request
