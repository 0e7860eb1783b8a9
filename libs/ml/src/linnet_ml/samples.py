"""`samples.npz`: what is known of each row of a dataset.

Optional members, each with one entry a row:

    sample_id.npy  text or integers: what a person calls the row
    group.npy      text or integers: rows of a group stay on one side of a split
    recording.npy  text or integers: what the row was cut from
    test.npy       bool: rows that no training may see
    validation.npy bool: rows to validate on, unless a spec names another split; none is a test row
"""

import io
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from linnet_runtime.errors import InvalidInput, Violation
from numpy.typing import NDArray

from linnet_ml import npy

SAMPLES = "samples.npz"
MAX_SAMPLES_BYTES = 256 * 1024**2
MAX_NAME_CHARACTERS = 1000
_MAX_MEMBER_BYTES = 1024**3
_LAST_POINT, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_POINTS_AT_ONCE = 1 << 20
_MEMBERS = ("sample_id", "group", "recording", "test", "validation")
_FLAGS = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Samples:
    """What is known of each row; None where the dataset does not say.

    Attributes:
        sample_id: Text, shape (rows,).
        group: Text, shape (rows,).
        recording: Text, shape (rows,).
        test: Bool, shape (rows,).
        validation: Bool, shape (rows,).
    """

    sample_id: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None
    recording: NDArray[np.str_] | None = None
    test: NDArray[np.bool_] | None = None
    validation: NDArray[np.bool_] | None = None

    @property
    def has_validation(self) -> bool:
        """Whether any row is marked as a validation row."""
        return self.validation is not None and bool(self.validation.any())


def read_samples(file: BinaryIO, rows: int) -> Samples:
    """Read `samples.npz`.

    Args:
        file: The file, seekable.
        rows: Rows that each member must have.

    Raises:
        InvalidInput: It is no .npz, has a member that is not known, or a member of a wrong shape,
            dtype or size, or marks a row as a test and a validation row.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive)
            found = {name.removesuffix(".npy"): _member(archive, name, rows) for name in members}
    except InvalidInput:
        raise
    # Damage makes zipfile and the unpackers behind it raise anything.
    except Exception as error:
        raise InvalidInput.of(
            SAMPLES, f"expected a .npz file, received a broken one: {error}", reason="NOT_NPZ"
        ) from error
    marks = {
        name: read_flags(found.pop(name), f"{SAMPLES}/{name}.npy")
        for name in _FLAGS
        if name in found
    }
    samples = Samples(
        test=marks.get("test"),
        validation=marks.get("validation"),
        **{member: read_text(a, f"{SAMPLES}/{member}.npy") for member, a in found.items()},
    )
    check_sides(samples, f"{SAMPLES}/validation.npy")
    return samples


def _members(archive: zipfile.ZipFile) -> list[str]:
    names = [info.filename for info in archive.infolist()]
    unknown = sorted(set(names) - {f"{m}.npy" for m in _MEMBERS})
    if unknown or len(set(names)) != len(names):
        raise InvalidInput(
            [
                Violation(
                    f"{SAMPLES}/{name}",
                    f"expected {', '.join(_MEMBERS)} (.npy), each once, received this",
                )
                for name in unknown or ["members"]
            ],
            reason="UNKNOWN_MEMBER",
        )
    return names


def _member(archive: zipfile.ZipFile, name: str, rows: int) -> NDArray[Any]:
    path = f"{SAMPLES}/{name}"
    with archive.open(name) as raw:
        # The size that the directory names is the packer's word; the header's decides, and no more
        # than it says is unpacked.
        array = npy.read_all(raw, path, limit_bytes=_MAX_MEMBER_BYTES)  # type: ignore[arg-type]  # ZipExtFile reads like any binary file
    if array.shape != (rows,):
        raise InvalidInput.of(
            path, f"expected shape ({rows},), received {array.shape}", reason="ROW_COUNT_MISMATCH"
        )
    return array


def read_text(array: NDArray[Any], name: str) -> NDArray[np.str_]:
    """Read a column of names: text that every program can write, or integers.

    Raises:
        InvalidInput: It holds something else, half a character, NUL within, or a name that is
            longer than `MAX_NAME_CHARACTERS`; `name` is the column's.
    """
    if array.dtype.kind in "iu":
        return array.astype(np.str_)
    if array.dtype.kind != "U" or not array.dtype.isnative:
        raise InvalidInput.of(
            name, f"expected text or integers, received {array.dtype.str}", reason="WRONG_DTYPE"
        )
    if array.dtype.itemsize:
        points = np.ascontiguousarray(array).view(np.uint32).reshape(array.size, -1)
        step = max(1, _POINTS_AT_ONCE // points.shape[1])
        for first in range(0, array.size, step):
            _check_points(points[first : first + step], first, name)
    return array


def _check_points(points: NDArray[np.uint32], first_row: int, name: str) -> None:
    ends_early = (points[:, :-1] == 0) & (points[:, 1:] != 0)
    wrong = (points > _LAST_POINT) | ((points >= _SURROGATES[0]) & (points <= _SURROGATES[1]))
    for rows, words, reason in (
        (wrong.any(axis=1) | ends_early.any(axis=1), "whole characters and no NUL", "WRONG_TEXT"),
        (
            points[:, MAX_NAME_CHARACTERS:].any(axis=1),
            f"at most {MAX_NAME_CHARACTERS} characters",
            "TOO_LARGE",
        ),
    ):
        if rows.any():
            row = first_row + int(rows.argmax())
            raise InvalidInput.of(
                f"{name}[{row}]", f"expected {words}, received something else", reason=reason
            )


def read_flags(array: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Read a column of marks; raises `InvalidInput` with the column's `name` for other values."""
    if array.dtype.kind != "b":
        raise InvalidInput.of(
            name, f"expected bool, received {array.dtype.name}", reason="WRONG_DTYPE"
        )
    return array


def check_sides(samples: Samples, name: str) -> None:
    """Refuse rows that are both test and validation rows.

    Args:
        samples: Columns of equal length.
        name: What the column of validation rows is called, for errors.

    Raises:
        InvalidInput: Names the first such row.
    """
    if samples.test is None or samples.validation is None:
        return
    both = samples.test & samples.validation
    if both.any():
        raise InvalidInput.of(
            f"{name}[{int(both.argmax())}]",
            f"expected no test row, received one, as {int(both.sum())} in all",
            reason="TEST_AND_VALIDATION",
        )


def samples_bytes(samples: Samples) -> bytes:
    """Give the `samples.npz` file of what is known of each row."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in _MEMBERS:
            array = getattr(samples, member)
            if array is not None:
                # A fixed date keeps the file the same for the same samples.
                info = zipfile.ZipInfo(f"{member}.npy", (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, npy.to_bytes(array))
    return buffer.getvalue()
