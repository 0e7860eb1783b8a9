"""An object of the store as a file that is read piece by piece."""

import hashlib
import io

from linnet_runtime.objectstore import ObjectStore

_CHUNK_BYTES = 4 * 1024 * 1024


class StoredReader(io.RawIOBase):
    """Reads an object with ranged requests of 4 MiB, and digests what is read in order.

    Reading blocks: use it from a thread.
    """

    def __init__(self, store: ObjectStore, key: str, size_bytes: int) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._size = size_bytes
        self._position = 0
        self._buffer = b""
        self._buffer_at = 0
        self._digest = hashlib.sha256()
        self._digested = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere else."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, fewer only at the end."""
        left = self._size - self._position
        wanted = left if size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted > 0:
            part = self._some(wanted)
            if not part:
                break
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, wanted: int) -> bytes:
        offset = self._position - self._buffer_at
        if not 0 <= offset < len(self._buffer):
            length = min(_CHUNK_BYTES, self._size - self._position)
            self._buffer = self._store.get(self._key, offset=self._position, length=length)
            self._buffer_at, offset = self._position, 0
            if self._buffer_at == self._digested:
                self._digest.update(self._buffer)
                self._digested += len(self._buffer)
        return self._buffer[offset : offset + wanted]

    def sha256(self) -> str:
        """Give the digest of the whole object, reading what was not read in order before."""
        while self._digested < self._size:
            self._position = self._digested
            if not self._some(_CHUNK_BYTES):
                break
        return self._digest.hexdigest()
