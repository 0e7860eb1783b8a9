"""The object store as a port, and its keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object: its key and its size in bytes."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """One bucket of an S3 store; methods block and may be called from any thread.

    Every method raises `Unavailable` when the store can't be reached, and `NotFound` where an
    object that must exist does not.
    """

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Store an object, replacing one of the same key."""
        ...

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Read an object, or `length` bytes of it from `offset`."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store, replacing one of the target's key."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Say how large an object is."""
        ...

    def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """List the objects whose keys begin with `prefix`, in order of key."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys that do not exist are passed over."""
        ...

    def presign(
        self, method: str, key: str, expires: timedelta, *, size_bytes: int | None = None
    ) -> str:
        """Make an address with which anyone may GET or PUT this one object until it expires.

        Args:
            method: `GET` or `PUT`.
            key: The object.
            expires: From now on.
            size_bytes: Of what may be put; the store refuses anything else. None takes all.
        """
        ...

    def ping(self) -> None:
        """Make sure that the bucket can be reached."""
        ...
