"""Bytes that child processes can read and nobody can change: sealed anonymous files."""

import fcntl
import mmap
import os
from types import TracebackType
from typing import Self

BytesLike = bytes | bytearray | memoryview
"""What can be written without a copy; an array is one by way of `memoryview`."""

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def write_all(fd: int, data: BytesLike) -> None:
    """Write every byte, however many calls it takes."""
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(fd, left) :]


def map_readonly(fd: int) -> memoryview:
    """Map a whole file into memory, read-only; an empty one gives an empty view."""
    size_bytes = os.fstat(fd).st_size
    if not size_bytes:
        return memoryview(b"")
    # A private mapping, since kernels before 6.7 refuse shared ones of a write-sealed file.
    return memoryview(mmap.mmap(fd, size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))


class SharedBytes:
    """A sealed anonymous file; the memory is freed once closed and no child holds it.

    Attributes:
        fd: Its file descriptor, not inherited by programs that are started.
        size_bytes: Its size.
    """

    def __init__(self, data: BytesLike) -> None:
        self.fd = os.memfd_create("linnet", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        write_all(self.fd, data)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        self.size_bytes = os.fstat(self.fd).st_size
        self._closed = False

    def view(self) -> memoryview:
        """Map the content into this process; the view outlives `close`."""
        return map_readonly(self.fd)

    def close(self) -> None:
        """Give the descriptor back; more than once does nothing."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
