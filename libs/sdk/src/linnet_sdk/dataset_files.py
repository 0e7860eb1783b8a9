"""The files of a dataset on their way to a gateway; nobody looks inside them here."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput

FEATURES_FILE = "features.npy"
LABELS_FILE = "labels.npy"
SAMPLES_FILE = "samples.npz"
_CHUNK_BYTES = 1024 * 1024


def describe_files(paths: Mapping[str, Path]) -> list[dataset_pb2.StoredFile]:
    """Give name, size and digest of files, without looking inside.

    Raises:
        InvalidInput: One can't be read; names it.
    """
    described = []
    for name, path in paths.items():
        digest = hashlib.sha256()
        size_bytes = 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size_bytes += len(chunk)
        except OSError as error:
            raise InvalidInput.of(name, f"expected a readable file: {error}") from error
        described.append(
            dataset_pb2.StoredFile(name=name, size_bytes=size_bytes, sha256=digest.hexdigest())
        )
    return described
