"""The files of a dataset in the store: checked once, and their labels and groups remembered."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from linnet_runtime.errors import InvalidInput, NotFound, Violation
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.datasets.stored_file import StoredReader
from linnet_gateway.records import DatasetFacts, DatasetRecord, FileRecord

if TYPE_CHECKING:
    from linnet_ml.splits import RowInfo

_MAX_REMEMBERED_ROWS = 2_000_000
FEATURES, LABELS, SAMPLES = "features.npy", "labels.npy", "samples.npz"
FILE_LIMITS_BYTES = {FEATURES: 8 * 1024**3 + 10_240, LABELS: 64 * 1024**2, SAMPLES: 256 * 1024**2}
"""The largest file of each name; the `.npy` limits stand in linnet_ml.datasets."""


def check_declared(files: Mapping[str, FileRecord]) -> None:
    """Refuse files that a dataset can't have, before anything is uploaded.

    Raises:
        InvalidInput: A file is missing, unknown, too large or has no proper digest.
    """
    violations: list[Violation] = [
        Violation("files", f"expected a file {name}, received none")
        for name in (FEATURES, LABELS)
        if name not in files
    ]
    for index, file in enumerate(files.values()):
        path = f"files[{index}]"
        limit = FILE_LIMITS_BYTES.get(file.name)
        if limit is None:
            known = ", ".join(FILE_LIMITS_BYTES)
            violations.append(
                Violation(f"{path}.name", f"expected one of {known}, received {file.name!r}")
            )
        elif not 0 < file.size_bytes <= limit:
            violations.append(
                Violation(
                    f"{path}.size_bytes", f"expected 1 to {limit}, received {file.size_bytes}"
                )
            )
        if len(file.sha256) != 64 or set(file.sha256) - set("0123456789abcdef"):  # noqa: PLR2004 - hexadecimal SHA-256
            violations.append(
                Violation(f"{path}.sha256", f"expected 64 of 0-9a-f, received {file.sha256!r}")
            )
    if violations:
        raise InvalidInput(violations)


class DatasetFiles:
    """Checks and reads the files of datasets; methods block: call them from threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._rows: OrderedDict[str, RowInfo] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, dataset: DatasetRecord) -> DatasetFacts:
        """Check sizes, digests and contents of the uploaded files.

        Raises:
            InvalidInput: A file is missing or wrong; names it.
        """
        from linnet_ml import datasets

        readers = {file.name: self._reader(file) for file in dataset.files}
        found = datasets.check(
            readers[FEATURES],  # type: ignore[arg-type]  # a RawIOBase reads like any binary file
            readers[LABELS],  # type: ignore[arg-type]  # as above
            readers.get(SAMPLES),  # type: ignore[arg-type]  # as above
            class_count=len(dataset.classes),
        )
        for file in dataset.files:
            digest = readers[file.name].sha256()
            if digest != file.sha256:
                raise InvalidInput.of(
                    file.name,
                    f"expected SHA-256 {file.sha256}, received {digest}",
                    reason="DIGEST_MISMATCH",
                )
        return DatasetFacts(
            input_shape=found.input_shape,
            sample_count=found.sample_count,
            class_counts=found.class_counts,
            group_count=len(found.groups),
            test_count=found.test_count,
            feature_bytes=found.feature_bytes,
            validation_count=found.validation_count,
        )

    def set_apart(self, uploaded: DatasetRecord, apart: DatasetRecord) -> None:
        """Copy uploaded files to other keys, where nobody has an address to write over them.

        Raises:
            InvalidInput: A file is missing, or of another size than was declared.
        """
        for file, copy in zip(uploaded.files, apart.files, strict=True):
            self._check_size(file)
            try:
                self._store.copy(file.key, copy.key)
            except NotFound:
                raise _missing(file) from None

    def remove(self, dataset: DatasetRecord) -> None:
        """Delete the files of a record that needs them no more."""
        self._store.delete([file.key for file in dataset.files])

    def _reader(self, file: FileRecord) -> StoredReader:
        return StoredReader(self._store, file.key, self._check_size(file))

    def _check_size(self, file: FileRecord) -> int:
        try:
            size = self._store.stat(file.key).size_bytes
        except NotFound:
            raise _missing(file) from None
        if size != file.size_bytes:
            raise InvalidInput.of(
                file.name,
                f"expected {file.size_bytes} bytes as declared, received {size}",
                reason="SIZE_MISMATCH",
            )
        return size

    def row_info(self, dataset: DatasetRecord) -> "RowInfo | None":
        """Read labels, groups and marks of a checked dataset; None if it has too many rows."""
        if dataset.facts.sample_count > _MAX_REMEMBERED_ROWS:
            return None
        with self._lock:
            known = self._rows.get(dataset.uid)
            if known is not None:
                self._rows.move_to_end(dataset.uid)
                return known
        read = self._read_rows(dataset)
        with self._lock:
            self._rows[dataset.uid] = read
            while sum(len(r.labels) for r in self._rows.values()) > _MAX_REMEMBERED_ROWS:
                self._rows.popitem(last=False)
        return read

    def _read_rows(self, dataset: DatasetRecord) -> "RowInfo":
        from linnet_ml import npy
        from linnet_ml.datasets import MAX_LABELS_BYTES
        from linnet_ml.samples import Samples, read_samples
        from linnet_ml.splits import RowInfo

        files = {file.name: file for file in dataset.files}
        labels = npy.read_all(
            self._reader(files[LABELS]),  # type: ignore[arg-type]  # as in `check`
            LABELS,
            limit_bytes=MAX_LABELS_BYTES,
        )
        samples = Samples()
        if SAMPLES in files:
            reader = self._reader(files[SAMPLES])
            samples = read_samples(reader, dataset.facts.sample_count)  # type: ignore[arg-type]  # as in `check`
        return RowInfo(
            labels=labels,
            groups=samples.group,
            recordings=samples.recording,
            test=samples.test,
            validation=samples.validation,
        )


def _missing(file: FileRecord) -> InvalidInput:
    return InvalidInput.of(
        file.name, "expected the file to be uploaded, found none", reason="FILE_MISSING"
    )
