"""Datasets in memory, and how they become files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput

from linnet_sdk.dataset_files import FEATURES_FILE, LABELS_FILE, SAMPLES_FILE


@dataclass(frozen=True, slots=True)
class Arrays:
    """A dataset in memory.

    Attributes:
        input_kind: What the features are.
        classes: Class names; label i means `classes[i]`.
        features: float32, shape (samples, ...); finite.
        labels: integers in [0, len(classes)), shape (samples,).
        feature_names: Names of columns or channels; may be empty.
        sample_ids: Names of the samples, shape (samples,); the row number if left out.
        groups: Key of rows that must stay on one side of a split, such as the person, shape
            (samples,).
        recordings: The recording that each sample was cut from, shape (samples,).
        test: Whether each row is a test row, bool, shape (samples,).
        title: For people.
        validation: Whether each row is a validation row, bool, shape (samples,); no test row is.
    """

    input_kind: dataset_pb2.InputKind.ValueType
    classes: Sequence[str]
    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    feature_names: Sequence[str] = ()
    sample_ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    recordings: Sequence[str] | None = None
    test: npt.NDArray[np.bool_] | None = None
    title: str = ""
    validation: npt.NDArray[np.bool_] | None = None

    def record(self) -> dataset_pb2.Dataset:
        """Give the record that a gateway is asked to create."""
        return dataset_pb2.Dataset(
            display_name=self.title,
            input_kind=self.input_kind,
            classes=self.classes,
            feature_names=self.feature_names,
        )


def write_files(arrays: Arrays, folder: Path) -> dict[str, Path]:
    """Write `features.npy`, `labels.npy` and `samples.npz` and give their paths by name.

    Raises:
        InvalidInput: An array holds objects, or has another number of rows than the features.
    """
    features = np.asarray(arrays.features)
    labels = np.asarray(arrays.labels)
    rows = features.shape[0] if features.ndim else 0
    columns: dict[str, npt.NDArray[Any]] = {
        "sample_id": np.asarray(
            [str(i) for i in range(rows)] if arrays.sample_ids is None else arrays.sample_ids,
            dtype=np.str_,
        )
    }
    if arrays.groups is not None:
        columns["group"] = np.asarray(arrays.groups, dtype=np.str_)
    if arrays.recordings is not None:
        columns["recording"] = np.asarray(arrays.recordings, dtype=np.str_)
    for name, marks in (("test", arrays.test), ("validation", arrays.validation)):
        if marks is not None:
            columns[name] = np.asarray(marks, dtype=np.bool_)
    for name, array in {"labels": labels, **columns}.items():
        if array.shape != (rows,):
            raise InvalidInput.of(name, f"expected shape ({rows},), received {array.shape}")
    for name, array in {"features": features, "labels": labels}.items():
        if array.dtype.kind not in "biuf":
            raise InvalidInput.of(name, f"expected numbers, received dtype {array.dtype}")
    np.save(folder / FEATURES_FILE, features.astype(np.float32, copy=False), allow_pickle=False)
    np.save(folder / LABELS_FILE, labels, allow_pickle=False)
    np.savez(folder / SAMPLES_FILE, allow_pickle=False, **columns)
    return {name: folder / name for name in (FEATURES_FILE, LABELS_FILE, SAMPLES_FILE)}
