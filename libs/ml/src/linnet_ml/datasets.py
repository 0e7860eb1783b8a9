"""The files of a dataset: what they hold, how they are checked and how they are read.

    features.npy   (rows, *input_shape), float16/32/64 or integers, C order, finite in float32
    labels.npy     (rows,), integers in [0, classes)
    samples.npz    optional: linnet_ml.samples

Nothing here unpickles: a file with objects is refused before its values are read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_ml import npy
from linnet_ml.samples import SAMPLES, Samples, read_samples

FEATURES = "features.npy"
LABELS = "labels.npy"

MAX_ROWS = 5_000_000
MAX_ROW_VALUES = 1_000_000
MAX_FEATURES_BYTES = 8 * 1024**3
MAX_LABELS_BYTES = MAX_ROWS * 8 + 1024
_FLOATS = {"float16", "float32", "float64"}
_INTEGERS = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"}
_MIN_AXES = 2
_MAX_AXES = 4
_MIN_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together.

    Attributes:
        name: The group key.
        class_counts: Rows of each class that are not test rows.
        test_count: Rows marked as test rows.
    """

    name: str
    class_counts: tuple[int, ...]
    test_count: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a check found.

    Attributes:
        input_shape: Shape of one row.
        sample_count: Rows.
        class_counts: Rows of each class.
        test_class_counts: Rows of each class that are marked as test rows.
        groups: Distinct groups in order of name; empty without a group key.
        test_count: Rows marked as test rows.
        validation_count: Rows marked as validation rows.
        feature_bytes: Bytes of one row as stored.
    """

    input_shape: tuple[int, ...]
    sample_count: int
    class_counts: tuple[int, ...]
    test_class_counts: tuple[int, ...]
    groups: tuple[Group, ...]
    test_count: int
    validation_count: int
    feature_bytes: int


def check(
    features: BinaryIO, labels: BinaryIO, samples: BinaryIO | None, *, class_count: int
) -> Facts:
    """Check the files of a dataset in one pass, holding a few MiB of features at a time.

    Args:
        features: `features.npy`, read once from its beginning to its end.
        labels: `labels.npy`, as features.
        samples: `samples.npz`, seekable; None if there is none.
        class_count: Classes that the dataset names.

    Raises:
        InvalidInput: Names the file and the row to blame, what was expected and what came.
    """
    header = check_features(features)
    rows = header.shape[0]
    label = _labels(labels, rows, class_count)
    extra = read_samples(samples, rows) if samples is not None else Samples()
    counts = np.bincount(label, minlength=class_count)
    nothing = np.zeros(rows, np.bool_)
    test = nothing if extra.test is None else extra.test
    validation = nothing if extra.validation is None else extra.validation
    test_counts = np.bincount(label[test], minlength=class_count)
    _check_counts(counts, class_count)
    _check_training(label[~test], "test")
    _check_training(label[~test & ~validation], "validation")
    return Facts(
        input_shape=header.shape[1:],
        sample_count=rows,
        class_counts=_ints(counts),
        test_class_counts=_ints(test_counts),
        groups=_groups(extra.group, label, test, class_count),
        test_count=int(test.sum()),
        validation_count=int(validation.sum()),
        feature_bytes=header.row_bytes,
    )


def check_features(file: BinaryIO) -> npy.Header:
    """Check `features.npy` from its beginning to its end.

    Raises:
        InvalidInput: Wrong dtype, shape or size, or a value that is not finite; names the row.
    """
    header = npy.read_header(file, FEATURES)
    _check_dtype(header.dtype, _FLOATS | _INTEGERS, FEATURES)
    axes = len(header.shape)
    if not _MIN_AXES <= axes <= _MAX_AXES or min(header.shape) < 1:
        raise InvalidInput.of(
            FEATURES,
            f"expected {_MIN_AXES} to {_MAX_AXES} axes (rows first), each at least 1 long, "
            f"received shape {header.shape}",
            reason="WRONG_SHAPE",
        )
    _check_limit("rows", header.shape[0], MAX_ROWS)
    _check_limit("values a row", header.row_bytes // max(header.dtype.itemsize, 1), MAX_ROW_VALUES)
    _check_limit("bytes", header.data_bytes, MAX_FEATURES_BYTES)
    done = 0
    for chunk in npy.read_rows(file, header, FEATURES):
        if chunk.dtype.kind == "f":
            _check_finite(chunk, done)
        done += len(chunk)
    return header


def _check_limit(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise InvalidInput.of(
            FEATURES, f"expected at most {limit} {what}, received {value}", reason="TOO_LARGE"
        )


def _check_finite(chunk: NDArray[Any], first_row: int) -> None:
    # Models compute in float32, where larger numbers are infinite.
    with np.errstate(over="ignore"):
        finite = np.isfinite(chunk.astype(np.float32, copy=False))
    if finite.all():
        return
    where = tuple(int(i) for i in np.argwhere(~finite)[0])
    path = ", ".join(str(i) for i in (first_row + where[0], *where[1:]))
    raise InvalidInput.of(
        f"{FEATURES}[{path}]",
        f"expected a finite number of float32, received {chunk[where]}",
        reason="NOT_FINITE",
    )


def _check_dtype(dtype: np.dtype[Any], allowed: set[str], name: str) -> None:
    if dtype.name not in allowed or not dtype.isnative:
        raise InvalidInput.of(
            name,
            f"expected one of {', '.join(sorted(allowed))}, little-endian, "
            f"received {dtype.str!r} ({dtype.name})",
            reason="WRONG_DTYPE",
        )


def _labels(file: BinaryIO, rows: int, class_count: int) -> NDArray[np.int64]:
    raw = npy.read_all(file, LABELS, limit_bytes=MAX_LABELS_BYTES)
    _check_dtype(raw.dtype, _INTEGERS, LABELS)
    if raw.ndim != 1:
        raise InvalidInput.of(
            LABELS, f"expected shape ({rows},), received {raw.shape}", reason="WRONG_SHAPE"
        )
    if len(raw) != rows:
        raise InvalidInput.of(
            LABELS,
            f"expected {rows} rows, as {FEATURES} has, received {len(raw)}",
            reason="ROW_COUNT_MISMATCH",
        )
    label = raw.astype(np.int64)
    wrong = np.flatnonzero((label < 0) | (label >= class_count))
    if len(wrong):
        row = int(wrong[0])
        raise InvalidInput.of(
            f"{LABELS}[{row}]",
            f"expected 0 to {class_count - 1} for {class_count} classes, received {label[row]}",
            reason="LABEL_OUT_OF_RANGE",
        )
    return label


def _check_counts(counts: NDArray[np.int64], class_count: int) -> None:
    rows = int(counts.sum())
    if rows < class_count:
        raise InvalidInput.of(
            FEATURES,
            f"expected at least as many rows as classes, {class_count}, received {rows}",
            reason="TOO_FEW_SAMPLES",
        )
    if int((counts > 0).sum()) < _MIN_CLASSES:
        raise InvalidInput.of(
            LABELS,
            f"expected rows of at least 2 classes, received only class {int(counts.argmax())}",
            reason="ONE_CLASS_ONLY",
        )


def _check_training(labels: NDArray[np.int64], column: str) -> None:
    """Refuse marks that leave nothing to learn."""
    if np.count_nonzero(np.bincount(labels)) < _MIN_CLASSES:
        raise InvalidInput.of(
            f"{SAMPLES}/{column}.npy",
            f"expected rows of at least 2 classes that are no {column} rows, received fewer",
            reason="ONE_CLASS_ONLY",
        )


def _ints(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _groups(
    group: NDArray[np.str_] | None,
    label: NDArray[np.int64],
    test: NDArray[np.bool_],
    class_count: int,
) -> tuple[Group, ...]:
    if group is None:
        return ()
    names, index = np.unique(group, return_inverse=True)
    table = np.zeros((len(names), class_count), np.int64)
    np.add.at(table, (index[~test], label[~test]), 1)
    tests = np.bincount(index[test], minlength=len(names))
    return tuple(
        Group(str(name), _ints(row), int(count))
        for name, row, count in zip(names, table, tests, strict=True)
    )


def load_features(path: Path) -> NDArray[Any]:
    """Map `features.npy` of a checked dataset into memory; read-only, (rows, *input_shape)."""
    with path.open("rb") as file:
        npy.read_header(file, FEATURES)
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def load_labels(path: Path) -> NDArray[np.int64]:
    """Read `labels.npy` of a checked dataset; shape (rows,)."""
    with path.open("rb") as file:
        return npy.read_all(file, LABELS, limit_bytes=MAX_LABELS_BYTES).astype(np.int64)


def load_samples(path: Path, rows: int) -> Samples:
    """Read `samples.npz` of a checked dataset."""
    with path.open("rb") as file:
        return read_samples(file, rows)
