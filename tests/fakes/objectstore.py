"""An object store that is a dictionary; presigned addresses are `memory:` URLs of the same."""

from collections.abc import Iterable
from datetime import timedelta

from linnet_runtime.errors import NotFound
from linnet_runtime.objectstore import ObjectInfo


class MemoryStore:
    """Keeps objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes, _content_type: str = "") -> None:
        self.objects[key] = data

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if key not in self.objects:
            raise NotFound("object", key)
        end = None if length is None else offset + length
        return self.objects[key][offset:end]

    def copy(self, source: str, target: str) -> None:
        self.objects[target] = self.get(source)

    def stat(self, key: str) -> ObjectInfo:
        if key not in self.objects:
            raise NotFound("object", key)
        return ObjectInfo(key, len(self.objects[key]))

    def list(self, prefix: str) -> Iterable[ObjectInfo]:
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        return [ObjectInfo(key, len(self.objects[key])) for key in keys]

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def presign(
        self, method: str, key: str, _expires: timedelta, *, size_bytes: int | None = None
    ) -> str:
        return f"memory:{method}:{key}"

    def ping(self) -> None:
        return
