"""The use case: score the exported files of a run on its stored split."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from linnet_ml import datasets
from linnet_runtime.errors import InvalidInput
from linnet_runtime.objectstore import ObjectStore
from numpy.typing import NDArray

from linnet_evaluator import comparison, to_record
from linnet_evaluator.model_runner import ModelRun, ModelRunner
from linnet_evaluator.record import Evaluation, SplitSide, Variant, VariantComparison
from linnet_evaluator.run_files import MANIFEST, SPLIT, Split, read_scaler, read_split
from linnet_evaluator.scoring import Scoring, number_groups, score_all
from linnet_evaluator.stored_data import (
    MODEL_LIMIT_BYTES,
    Dataset,
    DatasetCache,
    FileRef,
    by_name,
    read,
)

MODEL_NAMES = {Variant.FLOAT32: "model.float32.tflite", Variant.INT8: "model.int8.tflite"}
METHOD = "1"
"""Version of the method; a change makes every stored result one of another fingerprint."""

_LIMIT_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """What to evaluate; see EvaluateRequest of the contract."""

    run: str
    run_files: tuple[FileRef, ...]
    dataset_files: tuple[FileRef, ...]
    classes: tuple[str, ...]
    dataset_digest: str

    def fingerprint(self) -> str:
        """Digest of everything that the result depends on."""
        told = {
            "method": METHOD,
            "run_files": sorted((f.name, f.sha256 or f.key) for f in self.run_files),
            "dataset_files": sorted((f.name, f.sha256 or f.key) for f in self.dataset_files),
            "classes": self.classes,
            "dataset_digest": self.dataset_digest,
        }
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class VariantRun:
    """A variant's scores of every row that is on some side."""

    model_sha256: str
    run: ModelRun
    scores: NDArray[np.float32]


class Evaluator:
    """Scores runs; blocks, and may be called from several threads.

    Args:
        store: Where files are.
        data: Datasets in memory.
        models: Runs model files.
        pool: Threads that wait for sandbox children, one a variant.
    """

    def __init__(
        self, store: ObjectStore, data: DatasetCache, models: ModelRunner, pool: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._data = data
        self._models = models
        self._pool = pool

    def evaluate(self, wanted: EvaluationInput) -> Evaluation:
        """Score every variant on every side that has rows.

        Raises:
            InvalidInput: A file can't be used; names it, with a stable reason.
            NotFound: The store lacks a file.
        """
        run_files = by_name(wanted.run_files, "run_files", [SPLIT])
        models = {v: run_files[name] for v, name in MODEL_NAMES.items() if name in run_files}
        if not models:
            raise InvalidInput.of(
                "run_files", f"expected one of {', '.join(MODEL_NAMES.values())}, received none"
            )
        needed = [datasets.FEATURES, datasets.LABELS]
        dataset_files = by_name(wanted.dataset_files, "dataset_files", needed)
        dataset = self._data.get(dataset_files, len(wanted.classes))
        split = read_split(
            read(self._store, run_files[SPLIT], limit_bytes=_LIMIT_BYTES), len(dataset.labels)
        )
        rows = np.unique(np.concatenate([split.training, split.validation, split.test]))
        runs = self._run_models(models, run_files, dataset, rows, len(wanted.classes))
        scorings = _score_sides(runs, rows, dataset, split)
        return Evaluation(
            classes=wanted.classes,
            sets=tuple(
                to_record.set_evaluation(s, variant, side, runs[variant].model_sha256)
                for (variant, side), s in scorings.items()
            ),
            comparison=_compare(scorings, dataset, split),
            dataset_digest=wanted.dataset_digest,
            fingerprint=wanted.fingerprint(),
        )

    def _run_models(
        self,
        models: Mapping[Variant, FileRef],
        run_files: Mapping[str, FileRef],
        dataset: Dataset,
        rows: NDArray[np.int64],
        class_count: int,
    ) -> dict[Variant, VariantRun]:
        manifest = None
        if MANIFEST in run_files:
            manifest = read(self._store, run_files[MANIFEST], limit_bytes=_LIMIT_BYTES)
        scaler = read_scaler(manifest)

        def run(file: FileRef) -> VariantRun:
            model = read(self._store, file, limit_bytes=MODEL_LIMIT_BYTES)
            ran = self._models.run(
                model,
                dataset.features,
                field=f"run_files[{file.name}]",
                scaler=scaler,
                rows=rows,
                class_count=class_count,
            )
            return VariantRun(hashlib.sha256(model).hexdigest(), ran, ran.scores.floats())

        return dict(zip(models, self._pool.map(run, models.values()), strict=True))


def _score_sides(
    runs: Mapping[Variant, VariantRun], rows: NDArray[np.int64], dataset: Dataset, split: Split
) -> dict[tuple[Variant, SplitSide], Scoring]:
    found = {}
    for variant, run in runs.items():
        for side in _sides(split):
            on_side = split.side(side)
            group = dataset.samples.group
            found[variant, side] = score_all(
                run.scores[np.searchsorted(rows, on_side)],
                dataset.labels[on_side],
                None if group is None else group[on_side],
            )
    return found


def _sides(split: Split) -> Sequence[SplitSide]:
    order = (SplitSide.VALIDATION, SplitSide.TEST, SplitSide.TRAINING)
    return [side for side in order if split.side(side).size]


def _compare(
    scorings: Mapping[tuple[Variant, SplitSide], Scoring], dataset: Dataset, split: Split
) -> VariantComparison | None:
    """Compare on the set that nothing was chosen by, else on validation."""
    for side in (SplitSide.TEST, SplitSide.VALIDATION, SplitSide.TRAINING):
        if all((variant, side) in scorings for variant in MODEL_NAMES):
            rows = split.side(side)
            group = dataset.samples.group
            return comparison.compare(
                dataset.labels[rows],
                scorings[Variant.FLOAT32, side].predicted,
                scorings[Variant.INT8, side].predicted,
                rows=rows,
                side=side,
                groups=None if group is None else number_groups(group[rows]),
            )
    return None
