"""Writes a run's artifacts into a folder: models, split, history, header, bundle, manifest last."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from linnet.v1 import spec_pb2
from linnet_ml.scaling import Scaler
from linnet_ml.spec import LayerList, TrainingSpec
from linnet_ml.splits import Fold, Split
from linnet_ml.wire import to_json
from numpy.typing import NDArray

from linnet_trainer.archives import npz_bytes, zip_bytes
from linnet_trainer.digests import file_digest, weights_digest
from linnet_trainer.export.c_header import c_header
from linnet_trainer.export.tflite_edit import tensor_facts
from linnet_trainer.file_names import (
    BUNDLE,
    FLOAT32,
    HEADER,
    HISTORY,
    INT8,
    KERAS,
    MANIFEST,
    OUT_OF_FOLD,
    SPLIT,
)
from linnet_trainer.fit import engine as engines
from linnet_trainer.fit.engine import Engine
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.fit.fitting import FitProgress
from linnet_trainer.fit.loop import TrainingLoop
from linnet_trainer.fit.loop_state import LoopState
from linnet_trainer.run_contract import RunFigures
from linnet_trainer.run_data import RunData, split_arrays

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A fit that has ended.

    Attributes:
        fold: Its rows.
        progress: Its history and watch.
        state: The weights that count.
        best_epoch: Their epoch, from 1.
        ending: Why it ended.
        scaler: Its scaling.
        calibration: Training rows for the int8 ranges; not all of them, for there may be many fits.
        model: Its Keras model.
        loop: The loop that trained it.
        scores: Probabilities of the validation rows, with folds only.
    """

    fold: Fold
    progress: FitProgress
    state: LoopState
    best_epoch: int
    ending: Ending
    scaler: Scaler
    calibration: NDArray[np.float32]
    model: Any
    loop: TrainingLoop
    scores: np.ndarray | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that a manifest tells."""

    name: str
    attempt: int
    spec: TrainingSpec
    layers: LayerList | None
    data: RunData
    split: Split
    results: tuple[FoldResult, ...]
    exported: int
    ending: Ending
    engine: Engine
    train_seconds: float
    warnings: tuple[str, ...]
    model_input_shape: tuple[int, ...] | None
    initial_model: Path | None

    @property
    def result(self) -> FoldResult:
        """The fit whose model is exported."""
        return self.results[self.exported]

    @property
    def scaler(self) -> Scaler:
        """Its scaling."""
        return self.result.scaler

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, from 1."""
        return self.result.best_epoch

    @property
    def parameter_count(self) -> int:
        """Parameters of the network."""
        return int(self.result.model.count_params())

    @property
    def epochs(self) -> int:
        """Epochs trained, all fits together."""
        return sum(len(result.progress.history) for result in self.results)


def figures_of(record: RunRecord) -> RunFigures:
    """Take the figures of a record."""
    history = record.result.progress.history
    best = [e.val_accuracy for e in history if e.number == record.best_epoch]
    return RunFigures(
        parameter_count=record.parameter_count,
        train_seconds=record.train_seconds,
        best_epoch=record.best_epoch,
        epochs=record.epochs,
        val_accuracy=best[0] if best else None,
        weights_sha256=weights_digest(record.result.state),
        warnings=record.warnings,
    )


def write_artifacts(record: RunRecord, folder: Path) -> tuple[str, ...]:
    """Write what is not there yet; the .tflite files already are.

    Returns:
        The names of all artifacts, the manifest last.
    """
    record.result.model.save(folder / KERAS)
    (folder / SPLIT).write_bytes(npz_bytes(dict(split_arrays(record.split, record.exported))))
    (folder / HISTORY).write_text(json.dumps(_history(record), indent=1))
    folds = _out_of_fold(record)
    if folds:
        (folder / OUT_OF_FOLD).write_bytes(npz_bytes(folds))
    variants = {
        name: tensor_facts((folder / name).read_bytes())
        for name in (FLOAT32, INT8)
        if (folder / name).exists()
    }
    if variants:
        (folder / HEADER).write_text(_header(record, folder, variants))
    manifest = _manifest(record, variants)
    names = [KERAS, FLOAT32, INT8, HEADER, SPLIT, HISTORY, OUT_OF_FOLD]
    present = [name for name in names if (folder / name).exists()]
    packed = {name: (folder / name).read_bytes() for name in present}
    manifest["files"] = {name: _stored(data) for name, data in packed.items()}
    packed[MANIFEST] = _json(manifest)
    bundle = zip_bytes(packed)
    (folder / BUNDLE).write_bytes(bundle)
    manifest["files"][BUNDLE] = _stored(bundle)
    (folder / MANIFEST).write_bytes(_json(manifest))
    return (*present, BUNDLE, MANIFEST)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


def _stored(data: bytes) -> dict[str, Any]:
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _history(record: RunRecord) -> dict[str, Any]:
    folds = [
        {
            "name": result.fold.name,
            "best_epoch": result.best_epoch,
            "ending": result.ending.value,
            "training_rows": int(result.fold.training.size),
            "validation_rows": int(result.fold.validation.size),
        }
        for result in record.results
    ]
    epochs = []
    for result in record.results:
        for entry in result.progress.history:
            values = {name: _finite(value) for name, value in entry.to_dict().items()}
            epochs.append({"epoch": values.pop("number"), **values})
    return {"epochs": epochs, "fits": folds, "train_seconds": record.train_seconds}


def _finite(value: Any) -> Any:
    """Give what JSON has a word for: neither a loss that is no number nor an infinite one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _out_of_fold(record: RunRecord) -> dict[str, np.ndarray]:
    scored = [(n, r) for n, r in enumerate(record.results) if r.scores is not None]
    if not scored:
        return {}
    return {
        "rows": np.concatenate([r.fold.validation for _, r in scored]),
        "folds": np.concatenate([np.full(r.fold.validation.size, n) for n, r in scored]),
        "scores": np.concatenate([r.scores for _, r in scored if r.scores is not None]),
    }


def _header(record: RunRecord, folder: Path, variants: Mapping[str, Any]) -> str:
    name = INT8 if INT8 in variants else FLOAT32
    facts = variants[name]["input"]
    quantization = None
    if facts["type"] == "int8":
        quantization = (facts["scale"], facts["zero_point"])
    return c_header(
        (folder / name).read_bytes(),
        classes=record.data.classes,
        scaler=record.scaler,
        quantization=quantization,
        title=f"{record.name or 'run'}, {name}",
    )


def _manifest(record: RunRecord, variants: Mapping[str, Any]) -> dict[str, Any]:
    result = record.result
    described = {}
    for name, facts in variants.items():
        entry = dict(facts)
        if facts["input"]["type"] == "int8":
            merged = record.scaler.merged(facts["input"]["scale"], facts["input"]["zero_point"])
            entry["merged_input"] = {
                "multiplier": [float(v) for v in merged[0]],
                "addend": [float(v) for v in merged[1]],
            }
        described["int8" if name == INT8 else "float32"] = entry
    return {
        "version": MANIFEST_VERSION,
        "run": record.name,
        "attempt": record.attempt,
        "spec": json.loads(to_json(record.spec, spec_pb2.TrainingSpec)),
        "layers": None
        if record.layers is None
        else json.loads(to_json(record.layers, spec_pb2.LayerList)),
        "dataset": {
            "sha256": record.data.digest,
            "rows": int(record.data.labels.size),
            "input_kind": record.data.input_kind.name.lower(),
            "input_shape": list(record.data.input_shape),
            "classes": list(record.data.classes),
        },
        "seed": record.spec.fit.seed,
        "initial_model_sha256": None
        if record.initial_model is None
        else file_digest(record.initial_model),
        "split": {
            "training_rows": int(result.fold.training.size),
            "validation_rows": int(result.fold.validation.size),
            "test_rows": int(record.split.test.size),
            "fits": len(record.results),
            "exported_fit": record.exported + 1,
        },
        "input_scaling": record.scaler.to_dict(),
        "model_input_shape": record.model_input_shape and list(record.model_input_shape),
        "variants": described,
        "engine": record.engine.to_dict(),
        "versions": engines.versions(),
        "cpu": engines.cpu_type(),
        "ending": record.ending.value,
        "best_epoch": result.best_epoch,
        "epochs": record.epochs,
        "parameter_count": record.parameter_count,
        "train_seconds": record.train_seconds,
        "weights_sha256": weights_digest(result.state),
        "warnings": list(record.warnings),
    }
