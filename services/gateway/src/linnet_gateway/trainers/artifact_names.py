"""Which files an attempt may have: plain names, one known folder, no way out of it."""

import re
from collections.abc import Sequence

from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput, Violation

_NAME = re.compile(r"(checkpoint/|log/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_FILE_BYTES = 4 * 1024**3
RESERVED = frozenset({"evaluation.json", "profile.json", "scores.npz"})
"""What evaluator and profiler write: a trainer's file of such a name would be taken for theirs."""


def check_artifact_names(files: Sequence[dataset_pb2.StoredFile]) -> None:
    """Refuse names, sizes and digests that no file of an attempt can have.

    Raises:
        InvalidInput: Names each wrong entry.
    """
    violations = []
    names: set[str] = set()
    for index, file in enumerate(files):
        path = f"files[{index}]"
        if not _NAME.fullmatch(file.name) or ".." in file.name:
            violations.append(
                Violation(
                    f"{path}.name",
                    "expected letters, digits, `.`, `_` and `-`, at most below checkpoint/ or "
                    f"log/, received {file.name[:120]!r}",
                )
            )
        if file.name in RESERVED:
            violations.append(
                Violation(f"{path}.name", f"expected no file {file.name!r}: analysis makes it")
            )
        if file.name in names:
            violations.append(Violation(f"{path}.name", f"expected {file.name!r} once"))
        names.add(file.name)
        if not 0 <= file.size_bytes <= MAX_FILE_BYTES:
            violations.append(
                Violation(
                    f"{path}.size_bytes",
                    f"expected 0 to {MAX_FILE_BYTES}, received {file.size_bytes}",
                )
            )
        if not _DIGEST.fullmatch(file.sha256):
            violations.append(
                Violation(f"{path}.sha256", f"expected 64 of 0-9a-f, received {file.sha256[:80]!r}")
            )
    if violations:
        raise InvalidInput(violations, reason="BAD_FILE")
