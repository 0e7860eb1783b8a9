"""Smartwatch recordings of seven shoulder exercises, from PyPI `seglearn` (BSD).

140 recordings of 10 people, 6 channels at 50 Hz: acceleration (g) and rotation (rad/s) along x, y
and z, worn left or right. D. M. Burns et al., "Shoulder Physiotherapy Exercise Recognition: Machine
Learning the Inertial Signals from a Smartwatch", 2018, https://arxiv.org/abs/1802.01489. The author
of the data maintains the package.

Its file is a pickle. It is read without running any code of it: only the numpy constructors that an
array is made of may be named, and nothing else is called.
"""

import codecs
import importlib.util
import pickle
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput, NotAllowedInState
from numpy._core.multiarray import _reconstruct
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from linnet_sdk.datasets import Arrays

RATE_HZ = 50
WINDOW_STEPS = 2 * RATE_HZ
HOP_STEPS = RATE_HZ
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
TEST_SUBJECTS = ("s08", "s09", "s10")
"""The last three people, whoever they are; the others are for training and validation."""

BAND_EDGES_HZ = (0.25, 1.0, 2.0, 3.0, 5.0, 8.0, 12.5, 25.0)
_FLOOR = 1e-6
_FILE = ("data", "watch_dataset.npy")


@dataclass(frozen=True, slots=True)
class Recording:
    """One set of repetitions by one person.

    Attributes:
        id: Its place in the file, such as `r007`.
        values: float32, shape (steps, 6), 50 Hz, channels as in `CHANNELS`.
        label: Index into the class names.
        subject: Who, such as `s03`.
    """

    id: str
    values: NDArray[np.float32]
    label: int
    subject: str


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of 2 s, cut every second.

    Attributes:
        values: float32, shape (windows, 100, 6).
        labels: int32, shape (windows,).
        subjects: Who, shape (windows,).
        recordings: Which recording, shape (windows,).
        ids: Recording and first step, shape (windows,).
        classes: Class names in order of label.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int32]
    subjects: NDArray[np.str_]
    recordings: NDArray[np.str_]
    ids: NDArray[np.str_]
    classes: tuple[str, ...]


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle that names nothing but numpy arrays; anything else is refused, not called."""

    _ALLOWED: dict[tuple[str, str], Any] = {  # noqa: RUF012 - never changed
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Give one of the four allowed names.

        Raises:
            InvalidInput: The pickle names something else.
        """
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise InvalidInput.of(
                "watch_dataset.npy",
                f"expected a pickle of numpy arrays, received one that names "
                f"{module_name}.{global_name}",
                reason="PICKLE_REFUSED",
            ) from None


def raw_windows() -> Arrays:
    """Make the dataset of raw windows, shape (100, 6), for 1-D convolutions."""
    cut = cut_windows(*installed_recordings())
    return _arrays(
        cut,
        cut.values,
        dataset_pb2.INPUT_KIND_TIME_SERIES,
        CHANNELS,
        "Smartwatch shoulder exercises, raw windows of 2 s",
    )


def spectral_features() -> Arrays:
    """Make the dataset of spectral features, shape (66,), for dense networks."""
    cut = cut_windows(*installed_recordings())
    features, names = spectral(cut.values)
    return _arrays(
        cut,
        features,
        dataset_pb2.INPUT_KIND_SPECTRAL,
        names,
        "Smartwatch shoulder exercises, spectral features of 2 s",
    )


def installed_recordings() -> tuple[list[Recording], tuple[str, ...]]:
    """Read the recordings from the installed package, without importing it.

    Raises:
        NotAllowedInState: `seglearn` is not installed.
    """
    spec = importlib.util.find_spec("seglearn")
    if spec is None or spec.origin is None:
        raise NotAllowedInState(
            "the smartwatch recordings come with the package seglearn: pip install 'linnet[demo]'",
            reason="EXAMPLE_NOT_INSTALLED",
        )
    with Path(spec.origin).parent.joinpath(*_FILE).open("rb") as file:
        return read_recordings(file)


def read_recordings(file: BinaryIO) -> tuple[list[Recording], tuple[str, ...]]:
    """Read the recordings and the class names.

    Raises:
        InvalidInput: The file names anything but numpy arrays, or holds something else.
    """
    npy_format.read_magic(file)
    npy_format.read_array_header_1_0(file)
    found = ArrayUnpickler(file, encoding="latin1").load().item()
    return [
        Recording(
            id=f"r{index:03d}",
            values=np.ascontiguousarray(values, dtype=np.float32),
            label=int(label),
            subject=f"s{int(subject):02d}",
        )
        for index, (values, label, subject) in enumerate(
            zip(found["X"], found["y"], found["subject"], strict=True)
        )
    ], tuple(str(name) for name in found["y_labels"])


def cut_windows(recordings: list[Recording], classes: tuple[str, ...]) -> Windows:
    """Cut recordings into windows of 2 s that begin every second."""
    parts, owners, starts = [], [], []
    for recording in recordings:
        view = np.lib.stride_tricks.sliding_window_view(recording.values, WINDOW_STEPS, axis=0)
        part = view[::HOP_STEPS].transpose(0, 2, 1)
        parts.append(part)
        owners += [recording] * len(part)
        starts += [step * HOP_STEPS for step in range(len(part))]
    return Windows(
        values=np.ascontiguousarray(np.concatenate(parts), dtype=np.float32),
        labels=np.asarray([owner.label for owner in owners], dtype=np.int32),
        subjects=np.asarray([owner.subject for owner in owners]),
        recordings=np.asarray([owner.id for owner in owners]),
        ids=np.asarray([f"{o.id}-{start:05d}" for o, start in zip(owners, starts, strict=True)]),
        classes=classes,
    )


def spectral(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Compute eleven figures a channel: mean, deviation, RMS, range, and log power of seven bands.

    Power is that of the Hann-windowed FFT of the signal less its mean, summed over each band and
    given as its natural logarithm.

    Args:
        values: float32, shape (windows, steps, channels).

    Returns:
        Features, float32, shape (windows, 11 x channels), and their names.
    """
    mean = values.mean(axis=1)
    centred = values - mean[:, None, :]
    spectrum = np.abs(np.fft.rfft(centred * np.hanning(values.shape[1])[None, :, None], axis=1))
    frequencies = np.fft.rfftfreq(values.shape[1], 1.0 / RATE_HZ)
    columns = [
        ("mean", mean),
        ("std", centred.std(axis=1)),
        ("rms", np.sqrt((values**2).mean(axis=1))),
        ("range", np.ptp(values, axis=1)),
    ]
    for low, high in pairwise(BAND_EDGES_HZ):
        inside = (frequencies >= low) & (frequencies < high)
        power = (spectrum[:, inside] ** 2).sum(axis=1)
        columns.append((f"{low:g}-{high:g}Hz", np.log(power + _FLOOR)))
    features = np.stack([column for _, column in columns], axis=2)
    names = tuple(f"{channel} {name}" for channel in CHANNELS for name, _ in columns)
    return features.reshape(len(values), -1).astype(np.float32), names


def _arrays(
    cut: Windows,
    features: NDArray[np.float32],
    kind: dataset_pb2.InputKind.ValueType,
    names: tuple[str, ...],
    title: str,
) -> Arrays:
    return Arrays(
        input_kind=kind,
        classes=cut.classes,
        features=features,
        labels=cut.labels,
        feature_names=names,
        sample_ids=list(cut.ids),
        groups=list(cut.subjects),
        recordings=list(cut.recordings),
        test=np.isin(cut.subjects, TEST_SUBJECTS),
        title=title,
    )
