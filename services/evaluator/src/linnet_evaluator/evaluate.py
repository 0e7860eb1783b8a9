"""The use case: score the exported files of a run on its stored split."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from linnet_ml import datasets
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from linnet_runtime.objectstore import ObjectStore
from numpy.typing import NDArray

from linnet_evaluator.assembly import RunScores, assemble
from linnet_evaluator.findings.scored_set import ScoredSet
from linnet_evaluator.record import Evaluation, SplitSide, Variant
from linnet_evaluator.running.model_runner import ModelRun, ModelRunner
from linnet_evaluator.serving.recent import Recent
from linnet_evaluator.stored.data import (
    MODEL_LIMIT_BYTES,
    Dataset,
    DatasetCache,
    FileRef,
    by_name,
    read,
)
from linnet_evaluator.stored.run_files import (
    MANIFEST,
    OUT_OF_FOLD,
    SPLIT,
    OutOfFold,
    Split,
    read_out_of_fold,
    read_scaler,
    read_split,
)
from linnet_evaluator.stored.scores_file import StoredScores

MODEL_NAMES = {Variant.FLOAT32: "model.float32.tflite", Variant.INT8: "model.int8.tflite"}
METHOD = "2"
"""Version of the method; a change makes every stored result one of another fingerprint."""

_USED_FILES = {*MODEL_NAMES.values(), SPLIT, MANIFEST, OUT_OF_FOLD}
_SIDES = (SplitSide.VALIDATION, SplitSide.TEST, SplitSide.TRAINING)
_LIMIT_BYTES = 1 << 28
_KEPT_SPLITS = 8


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """What to evaluate; see EvaluateRequest of the contract."""

    run: str
    run_files: tuple[FileRef, ...]
    dataset_files: tuple[FileRef, ...]
    classes: tuple[str, ...]
    dataset_digest: str
    sides: tuple[SplitSide, ...] = ()
    all_rows_as_test: bool = False

    def fingerprint(self) -> str:
        """Digest of everything that the result depends on."""
        told = {
            "method": METHOD,
            "run_files": sorted(
                (f.name, f.sha256 or f.key) for f in self.run_files if f.name in _USED_FILES
            ),
            "dataset_files": sorted((f.name, f.sha256 or f.key) for f in self.dataset_files),
            "classes": self.classes,
            "dataset_digest": self.dataset_digest,
            "sides": sorted(self.sides),
            "all_rows_as_test": self.all_rows_as_test,
        }
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a run's files on its split, which every question on them is answered from."""

    wanted: EvaluationInput
    run: RunScores
    stored: StoredScores

    def evaluation(self) -> Evaluation:
        """Compute every score and analysis.

        Raises:
            InvalidInput: Scores are not finite or negative; names the rows.
        """
        of = self.wanted
        return assemble(self.run, of.classes, of.dataset_digest, of.fingerprint())


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that scoring needs, read and checked.

    Attributes:
        wanted: What to evaluate.
        models: The .tflite files.
        scaler: Scaling ahead of them.
        dataset: The dataset.
        split: Rows of each side.
        sides: Sides that are wanted and have rows.
        folds: Scores of the folds' models, for a k-fold run.
    """

    wanted: EvaluationInput
    models: Mapping[Variant, bytes]
    scaler: Scaler | None
    dataset: Dataset
    split: Split
    sides: tuple[SplitSide, ...]
    folds: OutOfFold | None


@dataclass(frozen=True, slots=True)
class _VariantRun:
    model_sha256: str
    run: ModelRun


class Evaluator:
    """Scores runs; blocks, and may be called from several threads.

    Args:
        store: Where files are.
        data: Datasets in memory.
        models: Runs model files.
        pool: Threads that wait for the store and for sandbox children.
    """

    def __init__(
        self, store: ObjectStore, data: DatasetCache, models: ModelRunner, pool: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._data = data
        self._models = models
        self._pool = pool
        self._splits: Recent[Split] = Recent(_KEPT_SPLITS)

    def load(self, wanted: EvaluationInput) -> Loaded:
        """Read the files of a run and its dataset.

        Raises:
            InvalidInput: A file can't be used; names it, with a stable reason.
            NotFound: The store lacks a file.
        """
        needed = [] if wanted.all_rows_as_test else [SPLIT]
        run_files = by_name(wanted.run_files, "run_files", needed)
        models = {v: run_files[name] for v, name in MODEL_NAMES.items() if name in run_files}
        if not models:
            raise InvalidInput.of(
                "run_files", f"expected one of {', '.join(MODEL_NAMES.values())}, received none"
            )
        dataset_files = by_name(
            wanted.dataset_files, "dataset_files", [datasets.FEATURES, datasets.LABELS]
        )
        # Each read waits for the store; together they take as long as the slowest.
        loading = {
            variant: self._pool.submit(read, self._store, file, limit_bytes=MODEL_LIMIT_BYTES)
            for variant, file in models.items()
        }
        scaling = self._pool.submit(self.scaler, run_files)
        dataset = self._data.get(dataset_files, len(wanted.classes))
        split = self.split(wanted, run_files, len(dataset.labels))
        sides = tuple(
            side
            for side in _SIDES
            if split.side(side).size and (not wanted.sides or side in wanted.sides)
        )
        if not sides:
            raise InvalidInput.of("sides", "expected a side that has rows, received none")
        return Loaded(
            wanted=wanted,
            models={variant: file.result() for variant, file in loading.items()},
            scaler=scaling.result(),
            dataset=dataset,
            split=split,
            sides=sides,
            folds=self._out_of_fold(run_files, dataset, len(wanted.classes)),
        )

    def score(self, of: Loaded) -> Scored:
        """Score every variant on every side.

        Raises:
            InvalidInput: A model can't be used; names it, with a stable reason.
            DeadlineExceeded: A model took too long.
        """
        rows = np.unique(np.concatenate([of.split.side(side) for side in of.sides]))
        runs = self._run_models(of, rows)
        stored = _stored(of, rows, runs)
        scored = RunScores(
            sets={
                (variant, side): stored.on(variant, side) for variant in runs for side in of.sides
            },
            model_sha256={variant: run.model_sha256 for variant, run in runs.items()},
            samples=of.dataset.samples,
            groups=of.dataset.groups,
            labels=of.dataset.labels,
            out_of_fold=of.folds,
        )
        return Scored(of.wanted, scored, stored)

    def split(
        self, wanted: EvaluationInput, run_files: Mapping[str, FileRef], row_count: int
    ) -> Split:
        """Read a run's split, or make one of test rows only; runs of a batch share theirs."""
        if wanted.all_rows_as_test:
            nothing = np.zeros(0, np.int64)
            return Split(nothing, nothing, np.arange(row_count))
        file = run_files[SPLIT]
        key = f"{file.sha256};{row_count}"
        held = self._splits.get(key) if file.sha256 else None
        if held is None:
            held = read_split(read(self._store, file, limit_bytes=_LIMIT_BYTES), row_count)
            if file.sha256:
                self._splits.put(key, held)
        return held

    def _out_of_fold(
        self, run_files: Mapping[str, FileRef], dataset: Dataset, class_count: int
    ) -> OutOfFold | None:
        if OUT_OF_FOLD not in run_files:
            return None
        data = read(self._store, run_files[OUT_OF_FOLD], limit_bytes=_LIMIT_BYTES)
        return read_out_of_fold(data, len(dataset.labels), class_count)

    def scaler(self, run_files: Mapping[str, FileRef]) -> Scaler | None:
        """Read the scaling ahead of a run's models."""
        if MANIFEST not in run_files:
            return None
        return read_scaler(read(self._store, run_files[MANIFEST], limit_bytes=_LIMIT_BYTES))

    def _run_models(self, of: Loaded, rows: NDArray[np.int64]) -> dict[Variant, _VariantRun]:
        def run(variant: Variant) -> _VariantRun:
            ran = self._models.run(
                of.models[variant],
                of.dataset.features,
                field=f"run_files[{MODEL_NAMES[variant]}]",
                scaler=of.scaler,
                rows=rows,
                class_count=len(of.wanted.classes),
            )
            return _VariantRun(hashlib.sha256(of.models[variant]).hexdigest(), ran)

        return dict(zip(of.models, self._pool.map(run, of.models), strict=True))


def _stored(
    of: Loaded, rows: NDArray[np.int64], runs: Mapping[Variant, _VariantRun]
) -> StoredScores:
    labels, groups, folds = of.dataset.labels, of.dataset.groups, of.folds
    sides = np.zeros(len(labels), np.uint8)
    for side in _SIDES:
        sides[of.split.side(side)] = side
    pooled = None
    if folds is not None:
        pooled = ScoredSet.of(folds.rows, labels[folds.rows], folds.scores)
    return StoredScores(
        dataset_digest=of.wanted.dataset_digest,
        fingerprint=of.wanted.fingerprint(),
        rows=rows,
        labels=labels[rows],
        sides=sides[rows],
        scores={variant: run.run.scores for variant, run in runs.items()},
        groups=None if groups is None else groups.numbers[rows],
        out_of_fold=pooled,
    )
