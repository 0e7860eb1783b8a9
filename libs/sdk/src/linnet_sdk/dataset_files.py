"""The files of a dataset on their way to a gateway; nobody looks inside them here."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from linnet.v1 import dataset_pb2
from linnet_runtime.errors import Internal, InvalidInput

FEATURES_FILE = "features.npy"
LABELS_FILE = "labels.npy"
SAMPLES_FILE = "samples.npz"
FILE_NAMES = (FEATURES_FILE, LABELS_FILE, SAMPLES_FILE)
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


def places(folder: Path, addresses: Iterable[dataset_pb2.PresignedRequest]) -> dict[str, Path]:
    """Say where in a folder each file of a dataset is written to.

    Raises:
        Internal: The server names a file that no dataset has; nothing is written where it says.
    """
    found: dict[str, Path] = {}
    for address in addresses:
        if address.name not in FILE_NAMES:
            raise Internal(
                f"expected one of {', '.join(FILE_NAMES)} of the server, received {address.name!r}",
                reason="UNKNOWN_FILE",
            )
        found[address.name] = folder / address.name
    return found
