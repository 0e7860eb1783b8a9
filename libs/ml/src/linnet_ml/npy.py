"""Reading .npy data without trusting it: pickles are refused unread, memory stays bounded."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.lib import format as npy_format
from numpy.typing import NDArray

CHUNK_BYTES = 4 * 1024 * 1024
_MAGIC = b"\x93NUMPY"
_PICKLE_STARTS = (b"\x80", b"(", b"]", b"}")
_MAX_HEADER_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a .npy file says of itself: C-ordered values of one dtype, never objects."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, an entry of the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def data_bytes(self) -> int:
        """Bytes after the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def _refuse(name: str, description: str, reason: str) -> InvalidInput:
    return InvalidInput.of(name, description, reason=reason)


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the header and leave the file at its first value.

    Args:
        file: A binary file at its beginning.
        name: The file's name, for errors.

    Raises:
        InvalidInput: It is no .npy file (`NOT_NPY`), holds pickled objects (`PICKLED_NPY`), or is
            not in C order (`NOT_C_ORDER`).
    """
    start = file.read(len(_MAGIC))
    if start != _MAGIC:
        if start.startswith(_PICKLE_STARTS):
            raise _refuse(name, "expected a .npy file, received a pickle: refused", "PICKLED_NPY")
        raise _refuse(name, f"expected a .npy file, received bytes {start!r}", "NOT_NPY")
    version = tuple(file.read(2))
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise _refuse(name, f"expected .npy version 1 to 3, received {version}", "NOT_NPY")
    try:
        if version == (1, 0):
            found = npy_format.read_array_header_1_0(file, _MAX_HEADER_CHARACTERS)
        else:
            found = npy_format.read_array_header_2_0(file, _MAX_HEADER_CHARACTERS)
    # It is Python source, and damaged raises what its tokenizer, parser or dtype meet.
    except Exception as error:
        raise _refuse(
            name, f"expected a .npy header, received a broken one: {error}", "NOT_NPY"
        ) from error
    shape, fortran, dtype = found
    if min(shape, default=0) < 0:
        raise _refuse(name, f"expected lengths from 0, received shape {shape}", "WRONG_SHAPE")
    if dtype.hasobject:
        raise _refuse(
            name, "expected plain numbers, received pickled objects: refused unread", "PICKLED_NPY"
        )
    if fortran and len(shape) > 1:
        raise _refuse(
            name,
            "expected values in C order, received Fortran order; save np.ascontiguousarray(...)",
            "NOT_C_ORDER",
        )
    return Header(tuple(int(n) for n in shape), dtype)


def read_rows(
    file: BinaryIO, header: Header, name: str, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[NDArray[Any]]:
    """Read the rows after the header, a bounded number at a time.

    Yields:
        Arrays of shape (rows, *header.shape[1:]) and the header's dtype; together every row.

    Raises:
        InvalidInput: The file is shorter (`TRUNCATED`) or longer (`TRAILING_BYTES`) than its header
            says.
    """
    rows, row_bytes = header.shape[0], header.row_bytes
    step = max(1, chunk_bytes // max(row_bytes, 1))
    done = 0
    while done < rows and row_bytes:
        count = min(step, rows - done)
        data = _read_exactly(file, count * row_bytes)
        if len(data) < count * row_bytes:
            received = done * row_bytes + len(data)
            raise _refuse(
                name,
                f"expected {header.data_bytes} bytes of values, received {received}",
                "TRUNCATED",
            )
        yield np.frombuffer(data, header.dtype).reshape(count, *header.shape[1:])
        done += count
    if file.read(1):
        raise _refuse(
            name, f"expected {header.data_bytes} bytes of values, received more", "TRAILING_BYTES"
        )


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    parts: list[bytes] = []
    left = length
    while left > 0:
        part = file.read(min(left, CHUNK_BYTES))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_all(file: BinaryIO, name: str, *, limit_bytes: int) -> NDArray[Any]:
    """Read a whole .npy file of at most `limit_bytes` of values.

    Raises:
        InvalidInput: As `read_header` and `read_rows`, or it is larger (`TOO_LARGE`).
    """
    header = read_header(file, name)
    if header.data_bytes > limit_bytes:
        raise _refuse(
            name, f"expected at most {limit_bytes} bytes, received {header.data_bytes}", "TOO_LARGE"
        )
    if not header.shape:
        raise _refuse(name, "expected at least one axis, received a single value", "WRONG_SHAPE")
    chunks = list(read_rows(file, header, name))
    if not chunks:
        return np.empty(header.shape, header.dtype)
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def to_bytes(array: NDArray[Any]) -> bytes:
    """Give the .npy file of an array, in C order and without pickles."""
    buffer = io.BytesIO()
    npy_format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
