"""The rows of one fit: scaled, balanced, and chosen for calibration."""

from dataclasses import dataclass

import numpy as np
from linnet_ml.scaling import Scaler, fit_scaler
from linnet_ml.spec import ClassBalance, TrainingSpec
from linnet_ml.splits import Fold
from numpy.typing import NDArray

from linnet_trainer.fit.fitting import FoldData
from linnet_trainer.fit.loop_state import Rows
from linnet_trainer.run_data import RunData


@dataclass(frozen=True, slots=True)
class PreparedFold:
    """Scaled rows of one fit."""

    scaler: Scaler
    data: FoldData
    training: NDArray[np.float32]


def prepare_fold(data: RunData, fold: Fold, spec: TrainingSpec) -> PreparedFold:
    """Scale and balance the rows of a fit; everything is fitted on training rows only."""
    raw = np.asarray(data.features[fold.training])
    scaler = fit_scaler(spec.input_scaling, raw)
    training = scaler.apply(raw)
    labels = data.labels[fold.training]
    weights = None
    if spec.fit.class_balance is ClassBalance.WEIGHTS:
        weights = class_weights(labels, len(data.classes))[labels]
    validation = None
    if fold.validation.size:
        rows = scaler.apply(np.asarray(data.features[fold.validation]))
        validation = Rows.of(rows, data.labels[fold.validation])
    index = np.arange(labels.size, dtype=np.int32)
    if spec.fit.class_balance is ClassBalance.OVERSAMPLE:
        index = oversampled(labels, spec.fit.seed)
    return PreparedFold(
        scaler, FoldData(Rows.of(training, labels, weights), validation, index), training
    )


def class_weights(labels: NDArray[np.integer], class_count: int) -> NDArray[np.float32]:
    """Weight class c by N / (n_c * class_count), as the product does."""
    counts = np.bincount(labels, minlength=class_count)
    weights = labels.size / (np.maximum(counts, 1) * class_count)
    return weights.astype(np.float32)


def oversampled(labels: NDArray[np.integer], seed: int) -> NDArray[np.int32]:
    """List every row once, and copies of rare classes' rows until all classes are as frequent."""
    rng = np.random.Generator(np.random.PCG64([seed, 5]))
    counts = np.bincount(labels)
    most = int(counts.max())
    parts = [np.arange(labels.size)]
    for label, count in enumerate(counts):
        if 0 < count < most:
            members = np.flatnonzero(labels == label)
            parts.append(_copies(members, most - int(count), rng))
    return np.concatenate(parts).astype(np.int32)


def _copies(members: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Repeat whole sets of rows before any row gets one copy more than another."""
    rounds: list[NDArray[np.int64]] = [
        rng.permutation(members) for _ in range(-(-wanted // members.size))
    ]
    return np.concatenate(rounds)[:wanted]


def calibration_rows(training: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Choose training rows for the int8 ranges; all of them where there are no more."""
    if len(training) <= count:
        return training
    rng = np.random.Generator(np.random.PCG64([seed, 6]))
    return training[np.sort(rng.choice(len(training), count, replace=False))]
