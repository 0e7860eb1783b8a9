"""Reads the files of a run without a gateway: a spec and .npy arrays."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from google.protobuf import json_format
from linnet.v1 import spec_pb2
from linnet_ml import datasets, npy
from linnet_ml.samples import Samples, check_sides, read_flags, read_text, samples_bytes
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_ml.wire import from_message
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.validation import check
from numpy.typing import NDArray

from linnet_trainer.run_data import RunData

_COLUMN_LIMIT_BYTES = 1 << 30
_AUDIO_PRESETS = {"conv1d", "conv2d", "ds-cnn"}


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Paths of a run's inputs; the optional ones are None where there are none.

    Attributes:
        features: Features, .npy.
        labels: Classes, .npy.
        groups: Group of each row, .npy.
        recordings: Recording of each row, .npy.
        test: Test rows, .npy.
        validation: Validation rows, .npy.
        samples: These four in one, the samples.npz of a dataset; instead of them.
    """

    features: Path
    labels: Path
    groups: Path | None = None
    recordings: Path | None = None
    test: Path | None = None
    validation: Path | None = None
    samples: Path | None = None


def read_spec(path: Path) -> TrainingSpec:
    """Read a spec in the contract's JSON.

    Raises:
        InvalidInput: It is no JSON of a TrainingSpec, or breaks a rule of the contract; says where.
    """
    try:
        text = path.read_text()
        if not isinstance(json.loads(text), dict):
            raise InvalidInput.of("SPEC", "expected a TrainingSpec in JSON, received no object")
        message = json_format.Parse(text, spec_pb2.TrainingSpec())
    except OSError as error:
        raise InvalidInput.of("SPEC", f"expected a readable file: {error}") from error
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise InvalidInput.of("SPEC", f"expected a TrainingSpec in JSON: {error}") from error
    check(message)
    return from_message(TrainingSpec, message)


def read_data(
    files: LocalFiles, input_kind: InputKind | None, classes: tuple[str, ...], spec: TrainingSpec
) -> RunData:
    """Check and read the arrays.

    Args:
        files: Where they are.
        input_kind: What the features are; None guesses from their shape and the preset.
        classes: Class names; empty means that classes are numbered.
        spec: The spec as it came.

    Raises:
        InvalidInput: A file is not what it should be; names it.
    """
    samples = _samples(files)
    digest = hashlib.sha256()
    with _opened(files.labels) as file:
        labels = npy.read_all(file, "labels.npy", limit_bytes=datasets.MAX_LABELS_BYTES)
    if labels.dtype.kind not in "iu" or labels.size == 0:
        raise InvalidInput.of("labels.npy", f"expected integers, received {labels.dtype}")
    if len(set(classes)) < len(classes):
        raise InvalidInput.of(
            "--classes", f"expected each name once, received {', '.join(classes)}"
        )
    names = classes or _numbered(labels)
    with _opened(files.features) as features, _opened(files.labels) as label_file:
        facts = datasets.check(features, label_file, None, class_count=len(names))
    for path in (files.features, files.labels):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(samples_bytes(samples))
    _check_columns(samples, facts.sample_count)
    return RunData(
        input_kind or guess_kind(facts.input_shape, spec),
        names,
        datasets.load_features(files.features),
        datasets.load_labels(files.labels),
        samples,
        digest.hexdigest(),
        files.features,
    )


def _numbered(labels: NDArray[np.integer]) -> tuple[str, ...]:
    highest = int(labels.max())
    if highest >= labels.size:
        raise InvalidInput.of(
            "labels.npy",
            f"expected classes from 0, not more than the {labels.size} rows, received {highest}",
            reason="LABEL_OUT_OF_RANGE",
        )
    return tuple(str(n) for n in range(max(highest + 1, 2)))


def guess_kind(shape: tuple[int, ...], spec: TrainingSpec) -> InputKind:
    """Guess what features are from the shape of a row and the preset that the spec names."""
    preset = spec.architecture.preset or ""
    audio = spec.augmentation.spectrogram is not None
    if len(shape) == len(("height", "width", "channels")):
        return InputKind.AUDIO if audio else InputKind.IMAGE
    if len(shape) == len(("steps", "channels")):
        return InputKind.AUDIO if audio or preset == "conv2d" else InputKind.TIME_SERIES
    return InputKind.AUDIO if audio or preset in _AUDIO_PRESETS else InputKind.SPECTRAL


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInput.of(str(path), f"expected a readable file: {error.strerror}") from error


def _column(path: Path) -> NDArray[np.generic]:
    with _opened(path) as file:
        return npy.read_all(file, path.name, limit_bytes=_COLUMN_LIMIT_BYTES)


def _samples(files: LocalFiles) -> Samples:
    if files.samples is None:
        return Samples(
            group=_names(files.groups),
            recording=_names(files.recordings),
            test=_flags(files.test),
            validation=_flags(files.validation),
        )
    with _opened(files.labels) as file:
        rows = npy.read_all(file, "labels.npy", limit_bytes=datasets.MAX_LABELS_BYTES).size
    with _opened(files.samples):
        return datasets.load_samples(files.samples, rows)


def _names(path: Path | None) -> NDArray[np.str_] | None:
    if path is None:
        return None
    return read_text(_column(path), path.name)


def _flags(path: Path | None) -> NDArray[np.bool_] | None:
    if path is None:
        return None
    return read_flags(_column(path), path.name)


def _check_columns(samples: Samples, rows: int) -> None:
    for name in ("group", "recording", "test", "validation"):
        column = getattr(samples, name)
        if column is not None and column.shape != (rows,):
            raise InvalidInput.of(
                f"{name}s", f"expected {rows} entries, as there are rows, received {column.shape}"
            )
    check_sides(samples, "validation")
