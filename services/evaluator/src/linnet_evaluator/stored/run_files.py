"""What a run left in the store that an evaluation needs: split and scaling."""

import io
import json
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet_ml import npy
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.record import SplitSide

SPLIT = "split.npz"
MANIFEST = "manifest.json"
OUT_OF_FOLD = "out_of_fold.npz"

_LIMIT_BYTES = 1 << 28

_SIDES = ("training", "validation", "test")

Rows = NDArray[np.int64]


def read_npz(
    data: bytes,
    name: str,
    *,
    only: Collection[str] = (),
    limit_bytes: int = _LIMIT_BYTES,
) -> dict[str, NDArray[Any]]:
    """Read the members of a .npz file, or only some of them; pickles are refused unread.

    Raises:
        InvalidInput: It is no .npz file, or a member is none of plain numbers or text.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {}
            for info in archive.infolist():
                member = info.filename.removesuffix(".npy")
                if only and member not in only:
                    continue
                with archive.open(info) as raw:
                    path = f"{name}/{info.filename}"
                    array = npy.read_all(raw, path, limit_bytes=limit_bytes)  # type: ignore[arg-type]  # ZipExtFile reads like any binary file
                members[member] = array
            return members
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InvalidInput.of(
            name, f"expected a .npz file, received a broken one: {error}", reason="NOT_NPZ"
        ) from error


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of each side, int64."""

    training: Rows
    validation: Rows
    test: Rows

    def side(self, side: SplitSide) -> Rows:
        """Give the rows of a side."""
        rows: Rows = getattr(self, side.name.lower())
        return rows


def read_split(data: bytes, row_count: int) -> Split:
    """Read split.npz: int64 arrays `training`, `validation` and `test`, each may be missing.

    Raises:
        InvalidInput: It holds no rows, a row twice, or rows that the dataset has not.
    """
    members = read_npz(data, SPLIT, only=_SIDES)
    sides = {}
    for name in _SIDES:
        rows = members.get(name, np.zeros(0, np.int64))
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise InvalidInput.of(
                f"{SPLIT}/{name}.npy",
                f"expected row indices, received {rows.dtype} of shape {rows.shape}",
            )
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= row_count):
            raise InvalidInput.of(
                f"{SPLIT}/{name}.npy",
                f"expected rows from 0 to {row_count - 1}, received {rows.min()} to {rows.max()}",
            )
        sides[name] = rows.astype(np.int64)
    split = Split(**sides)
    everything = np.concatenate([split.training, split.validation, split.test])
    if not everything.size:
        raise InvalidInput.of(SPLIT, "expected rows on some side, received none")
    if len(np.unique(everything)) != len(everything):
        raise InvalidInput.of(
            SPLIT, "expected each row on one side and once, received some more often"
        )
    return split


def read_scaler(manifest: bytes | None) -> Scaler | None:
    """Read the scaling of a manifest.json; None where it names none.

    Raises:
        InvalidInput: It is no JSON object, or its scaling can't be read.
    """
    if manifest is None:
        return None
    try:
        stored = json.loads(manifest)
        scaling = stored.get("input_scaling") or stored.get("scaling")
    except (ValueError, AttributeError) as error:
        raise InvalidInput.of(MANIFEST, f"expected a JSON object: {error}") from error
    return Scaler.from_dict(scaling) if scaling else None


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Scores of rows by the fold's model that did not train on them.

    Attributes:
        rows: Row indices, int64, shape (rows,).
        folds: Fold of each, from 0, shape (rows,).
        scores: Float32, shape (rows, classes).
    """

    rows: Rows
    folds: Rows
    scores: NDArray[np.float32]


def read_out_of_fold(data: bytes, row_count: int, class_count: int) -> OutOfFold:
    """Read out_of_fold.npz: `rows` and `folds` (integers) and `scores` (rows, classes).

    Raises:
        InvalidInput: A member is missing, of a wrong shape, or names rows that do not exist.
    """
    wanted = ("rows", "folds", "scores")
    members = read_npz(data, OUT_OF_FOLD, only=wanted)
    for name in wanted:
        if name not in members:
            raise InvalidInput.of(f"{OUT_OF_FOLD}/{name}.npy", "expected this member, found none")
    rows, folds, scores = members["rows"], members["folds"], members["scores"]
    shapes = (rows.shape, folds.shape, scores.shape)
    expected = ((len(rows),), (len(rows),), (len(rows), class_count))
    if shapes != expected or rows.dtype.kind not in "iu" or folds.dtype.kind not in "iu":
        raise InvalidInput.of(OUT_OF_FOLD, f"expected shapes {expected}, received {shapes}")
    if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= row_count):
        raise InvalidInput.of(f"{OUT_OF_FOLD}/rows.npy", f"expected rows from 0 to {row_count - 1}")
    return OutOfFold(rows.astype(np.int64), folds.astype(np.int64), scores.astype(np.float32))
