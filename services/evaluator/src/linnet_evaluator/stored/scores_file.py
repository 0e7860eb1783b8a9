"""The scores of every row, stored so that no question on them needs the model again.

scores.npz    rows, labels, sides (SplitSide), groups (numbers, if the dataset has groups)
float32 and int8: scores as the model gave them, (rows, classes)
int8_scale: scale and zero point of the int8 scores
out_of_fold_rows, out_of_fold_labels, out_of_fold_scores of a k-fold run
dataset: the dataset's digest
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from linnet_ml import npy
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import SplitSide, Variant
from linnet_evaluator.running.model_runner import RawScores
from linnet_evaluator.stored.run_files import read_npz

NAME = "scores.npz"
_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class StoredScores:
    """Scores of every row that is on some side.

    Attributes:
        dataset_digest: The dataset that was scored.
        fingerprint: Of the evaluation that scored it.
        rows: Row indices, increasing, shape (rows,).
        labels: Actual classes, shape (rows,).
        sides: SplitSide of each row, shape (rows,).
        scores: Scores by variant, each (rows, classes).
        groups: Number of each row's group, shape (rows,); None without groups.
        out_of_fold: Rows of a k-fold run, scored by the models that did not train on them.
    """

    dataset_digest: str
    fingerprint: str
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    sides: NDArray[np.uint8]
    scores: Mapping[Variant, RawScores]
    groups: NDArray[np.int64] | None = None
    out_of_fold: ScoredSet | None = field(default=None)

    def on(self, variant: Variant, side: SplitSide) -> ScoredSet:
        """Give the scores of a variant on a side.

        Raises:
            InvalidInput: That variant or side was not scored.
        """
        if side is SplitSide.OUT_OF_FOLD:
            if self.out_of_fold is None:
                raise InvalidInput.of("side", "expected a k-fold run for out-of-fold scores")
            return self.out_of_fold
        chosen = self.sides == side
        if variant not in self.scores or not chosen.any():
            raise InvalidInput.of(
                "side",
                f"expected a variant and side that were scored, received {variant.name.lower()} on "
                f"{side.name.lower()}",
                reason="NOT_SCORED",
            )
        raw = self.scores[variant]
        part = RawScores(raw.values[chosen], raw.scale, raw.zero_point)
        return ScoredSet.of(self.rows[chosen], self.labels[chosen], part.floats())


def to_bytes(stored: StoredScores) -> bytes:
    """Pack scores into a compressed .npz file."""
    arrays: dict[str, NDArray[Any]] = {
        "dataset": np.array([stored.dataset_digest]),
        "fingerprint": np.array([stored.fingerprint]),
        "rows": stored.rows,
        "labels": stored.labels.astype(np.int32),
        "sides": stored.sides,
    }
    for variant, raw in stored.scores.items():
        name = variant.name.lower()
        arrays[name] = raw.values
        arrays[f"{name}_scale"] = np.array([raw.scale, raw.zero_point])
    if stored.groups is not None:
        arrays["groups"] = stored.groups.astype(np.int32)
    if stored.out_of_fold is not None:
        arrays["out_of_fold_rows"] = stored.out_of_fold.rows
        arrays["out_of_fold_labels"] = stored.out_of_fold.labels
        arrays["out_of_fold_scores"] = stored.out_of_fold.scores
    return pack(arrays)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write a .npz file; the lightest compression is four times faster and nearly as small."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", npy.to_bytes(array))
    return buffer.getvalue()


def from_bytes(data: bytes) -> StoredScores:
    """Read stored scores.

    Raises:
        InvalidInput: It is no such file.
    """
    members = read_npz(data, NAME, limit_bytes=_LIMIT_BYTES)
    try:
        scores = {}
        for variant in (Variant.FLOAT32, Variant.INT8):
            name = variant.name.lower()
            if name in members:
                scale, zero_point = members[f"{name}_scale"]
                scores[variant] = RawScores(members[name], float(scale), int(zero_point))
        out_of_fold = None
        if "out_of_fold_rows" in members:
            out_of_fold = ScoredSet.of(
                members["out_of_fold_rows"],
                members["out_of_fold_labels"],
                members["out_of_fold_scores"],
            )
        groups = members.get("groups")
        return StoredScores(
            dataset_digest=str(members["dataset"][0]),
            fingerprint=str(members["fingerprint"][0]),
            rows=members["rows"],
            labels=members["labels"].astype(np.int64),
            sides=members["sides"],
            scores=scores,
            groups=None if groups is None else groups.astype(np.int64),
            out_of_fold=out_of_fold,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise InvalidInput.of(NAME, f"expected scores that Evaluate stored: {error!r}") from error
