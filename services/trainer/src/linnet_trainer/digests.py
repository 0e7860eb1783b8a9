"""SHA-256 digests: equal bits, equal digest."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from linnet_trainer.fit.loop_state import LoopState


def weights_digest(state: "LoopState") -> str:
    """Digest all weights and moving statistics."""
    digest = hashlib.sha256(state.weights.tobytes())
    for array in state.fixed:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Digest a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
