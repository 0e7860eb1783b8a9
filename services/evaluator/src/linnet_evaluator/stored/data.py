"""Reads datasets and run files from the object store, and keeps datasets in memory.

A batch scores one dataset ten thousand times; only the first time is it read.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from linnet_ml import datasets, npy
from linnet_ml.samples import MAX_SAMPLES_BYTES, SAMPLES, Samples, read_samples
from linnet_runtime.errors import InvalidInput
from linnet_runtime.objectstore import ObjectStore
from linnet_runtime.sandbox import SharedBytes
from numpy.typing import NDArray

from linnet_evaluator.findings.row_groups import Groups

FEATURES_LIMIT_BYTES = 4 << 30
MODEL_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FileRef:
    """A stored file: its name, key, size and SHA-256 (empty if not known)."""

    name: str
    key: str
    size_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset in memory.

    Attributes:
        features: The features.npy file, which sandbox children read.
        input_shape: Shape of one row.
        labels: Shape (rows,).
        samples: What else is known of the rows.
        groups: Which rows are alike: of one subject, or of one recording where no subject is
            known; None where neither is.
    """

    features: SharedBytes
    input_shape: tuple[int, ...]
    labels: NDArray[np.int64]
    samples: Samples
    groups: Groups | None

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.features.size_bytes + self.labels.nbytes


def by_name(files: Sequence[FileRef], field: str, needed: Sequence[str]) -> dict[str, FileRef]:
    """Index files by name.

    Raises:
        InvalidInput: One that is needed is missing; names it.
    """
    found = {file.name: file for file in files}
    missing = [name for name in needed if name not in found]
    if missing:
        raise InvalidInput.of(field, f"expected {', '.join(missing)}, received {sorted(found)}")
    return found


def read(store: ObjectStore, file: FileRef, *, limit_bytes: int) -> bytes:
    """Read a file, no larger than allowed and equal to its digest where one is given.

    Raises:
        InvalidInput: It is too large (TOO_LARGE), or not what its size (SIZE_MISMATCH) or digest
            (DIGEST_MISMATCH) says.
        NotFound: The store has no such key.
    """
    size_bytes = file.size_bytes or store.stat(file.key).size_bytes
    if size_bytes > limit_bytes:
        raise InvalidInput.of(
            file.name, f"expected at most {limit_bytes} bytes, has {size_bytes}", reason="TOO_LARGE"
        )
    # A byte more than it should have tells a larger object without reading all of it.
    data = store.get(file.key, length=size_bytes + 1) if size_bytes else b""
    if len(data) != size_bytes:
        raise InvalidInput.of(
            file.name, f"expected {size_bytes} bytes, has another size", reason="SIZE_MISMATCH"
        )
    if file.sha256 and hashlib.sha256(data).hexdigest() != file.sha256:
        raise InvalidInput.of(
            file.name, f"expected SHA-256 {file.sha256}, has another", reason="DIGEST_MISMATCH"
        )
    return data


def load(store: ObjectStore, files: Mapping[str, FileRef], class_count: int) -> Dataset:
    """Read and check a dataset.

    Raises:
        InvalidInput: A file can't be used; names it and the value that is wrong.
    """
    features = read(store, files[datasets.FEATURES], limit_bytes=FEATURES_LIMIT_BYTES)
    labels = read(store, files[datasets.LABELS], limit_bytes=datasets.MAX_LABELS_BYTES)
    header = datasets.check_features(io.BytesIO(features))
    count = header.shape[0]
    samples = Samples()
    if SAMPLES in files:
        data = read(store, files[SAMPLES], limit_bytes=MAX_SAMPLES_BYTES)
        samples = read_samples(io.BytesIO(data), count)
    alike = samples.recording if samples.group is None else samples.group
    return Dataset(
        features=SharedBytes(features),
        input_shape=header.shape[1:],
        labels=read_labels(labels, count, class_count),
        samples=samples,
        groups=None if alike is None else Groups.of(alike),
    )


def read_labels(data: bytes, row_count: int, class_count: int) -> NDArray[np.int64]:
    """Read labels.npy; unlike a training set, one class alone may be scored.

    Raises:
        InvalidInput: It holds no integers of [0, classes), one a row.
    """
    limit = datasets.MAX_LABELS_BYTES
    labels = npy.read_all(io.BytesIO(data), datasets.LABELS, limit_bytes=limit)
    if labels.shape != (row_count,) or labels.dtype.kind not in "iu":
        raise InvalidInput.of(
            datasets.LABELS,
            f"expected {row_count} integers, received {labels.dtype} of shape {labels.shape}",
        )
    if int(labels.min()) < 0 or int(labels.max()) >= class_count:
        raise InvalidInput.of(
            datasets.LABELS,
            f"expected 0 to {class_count - 1}, received {labels.min()} to {labels.max()}",
            reason="LABEL_OUT_OF_RANGE",
        )
    return labels.astype(np.int64)


class DatasetCache:
    """Datasets by digest, the least recently used dropped first; any thread may call it.

    Args:
        store: Where they are read from.
        limit_bytes: Memory for datasets; the latest is kept however large it is.
    """

    def __init__(self, store: ObjectStore, limit_bytes: int) -> None:
        self._store = store
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, Dataset] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, files: Mapping[str, FileRef], class_count: int) -> Dataset:
        """Give a dataset; two callers of the same one wait for one reading.

        Raises:
            InvalidInput: As `load`.
        """
        key = _identity(files, class_count)
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._held:
                    self._held.move_to_end(key)
                    return self._held[key]
            dataset = load(self._store, files, class_count)
            with self._lock:
                self._held[key] = dataset
                self._shrink()
        return dataset

    def _shrink(self) -> None:
        total = sum(d.size_bytes for d in self._held.values())
        while total > self._limit_bytes and len(self._held) > 1:
            # Not closed here: a request may still use it; the last user's reference frees it.
            _, dropped = self._held.popitem(last=False)
            total -= dropped.size_bytes
        for key in [k for k in self._loading if k not in self._held]:
            if not self._loading[key].locked():
                del self._loading[key]


def _identity(files: Mapping[str, FileRef], class_count: int) -> str:
    parts = [f"{name}:{f.sha256 or f.key}" for name, f in sorted(files.items())]
    return hashlib.sha256(f"{class_count};{';'.join(parts)}".encode()).hexdigest()
