"""Builders for trainings in tests: real data of scikit-learn, a run's order, recorded events."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from linnet_ml.defaults import resolve
from linnet_ml.samples import Samples
from linnet_ml.spec import (
    Architecture,
    FitSettings,
    InputKind,
    Layer,
    LayerKind,
    LayerList,
    TrainingSpec,
)
from linnet_trainer.fit.epochs import Ending, EpochRecord
from linnet_trainer.run_data import RunData

SMALL = LayerList((Layer(LayerKind.DENSE, units=8), Layer(LayerKind.DROPOUT, rate=0.2)))


def spec(architecture: Architecture | None = None, **fit: Any) -> TrainingSpec:
    """Give a spec of few epochs over `SMALL`."""
    fit = {"epochs": 4, "learning_rate": 0.01} | fit
    return TrainingSpec(
        fit=FitSettings(**fit), architecture=architecture or Architecture(layers=SMALL)
    )


def weights_of(outcome: Any) -> str:
    """Give the digest of a run's weights."""
    return str(outcome.figures.weights_sha256)


def run_data(
    folder: Path,
    features: np.ndarray,
    labels: np.ndarray,
    kind: InputKind,
    samples: Samples | None = None,
) -> RunData:
    """Put arrays where a trainer's child can read them."""
    path = folder / "features.npy"
    np.save(path, features.astype(np.float32))
    classes = tuple(f"class {n}" for n in range(int(labels.max()) + 1))
    digest = hashlib.sha256(path.read_bytes() + labels.tobytes()).hexdigest()
    return RunData(
        kind,
        classes,
        np.load(path, mmap_mode="r"),
        labels.astype(np.int64),
        samples or Samples(),
        digest,
        path,
    )


def wine(folder: Path, samples: Samples | None = None) -> RunData:
    """178 wines, 13 columns of unequal ranges, 3 classes."""
    from sklearn.datasets import load_wine

    features, labels = load_wine(return_X_y=True)
    return run_data(folder, features, labels, InputKind.TABULAR, samples)


def digits(folder: Path, rows: int = 400) -> RunData:
    """8 x 8 images of digits, 10 classes."""
    from sklearn.datasets import load_digits

    features, labels = load_digits(return_X_y=True)
    images = features[:rows].reshape(-1, 8, 8, 1) / 16
    return run_data(folder, images, labels[:rows], InputKind.IMAGE)


def resolved(spec: TrainingSpec, data: RunData) -> TrainingSpec:
    """Fill in a spec's defaults for the data."""
    return resolve(
        spec,
        input_kind=data.input_kind,
        input_shape=data.input_shape,
        class_count=len(data.classes),
        has_groups=data.samples.group is not None,
        has_validation=data.samples.has_validation,
    )


@dataclass
class Recorder:
    """Run events that are only kept.

    Attributes:
        stop_after: Epochs after which `ending` is asked for.
        ending: Why.
    """

    stop_after: int = 1_000_000
    ending: Ending = Ending.TERMINATED
    lines: list[str] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)
    seconds: float = 0.0

    def line(self, text: str, *, warning: bool = False) -> None:
        self.lines.append(f"warning: {text}" if warning else text)

    def epoch(self, record: EpochRecord, line: str, ratio: float) -> None:
        self.epochs.append(record)
        self.ratios.append(ratio)

    def ratio(self, ratio: float) -> None:
        self.ratios.append(ratio)

    def exporting(self) -> None:
        self.lines.append("exporting")

    def interruption(self) -> Ending | None:
        return self.ending if len(self.epochs) >= self.stop_after else None

    def checkpoint(self, stored: Callable[[int], bytes]) -> None:
        self.saved.append(stored(0))

    def used(self, seconds: float) -> None:
        self.seconds = seconds


def train(shop: Any, spec: TrainingSpec, data: RunData, folder: Path, **more: Any) -> Any:
    """Train a run; gives outcome, events and the folder of its artifacts."""
    from linnet_trainer.run_contract import RunOrder
    from linnet_trainer.train_one import train_one

    events = more.pop("events", None) or Recorder()
    folder.mkdir(parents=True, exist_ok=True)
    attempt = more.pop("attempt", 1)
    order = RunOrder("projects/p/runs/r", attempt, resolved(spec, data), data, **more)
    return train_one(shop, order, events, folder), events
