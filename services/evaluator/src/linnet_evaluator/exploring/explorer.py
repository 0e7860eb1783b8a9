"""The feature explorer: every row as a point, with what is known of it.

What is projected depends on the dataset, its split and scaling, and for embeddings on the model;
predictions depend on the model. Both are computed on the first request for them, kept in the store
below the request's prefix, and read from there ever after.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from linnet_ml import datasets
from linnet_runtime.objectstore import ObjectStore
from numpy.typing import NDArray

from linnet_evaluator.evaluate import MODEL_NAMES, EvaluationInput, Evaluator
from linnet_evaluator.exploring.array_cache import ArrayCache, Arrays
from linnet_evaluator.exploring.features import features_view
from linnet_evaluator.exploring.projector import Projector
from linnet_evaluator.record import FeatureSource, ProjectionMethod, SplitSide, Variant
from linnet_evaluator.running.model_runner import ModelRun, ModelRunner
from linnet_evaluator.stored.data import (
    MODEL_LIMIT_BYTES,
    Dataset,
    DatasetCache,
    FileRef,
    by_name,
    read,
)
from linnet_evaluator.stored.run_files import MANIFEST, SPLIT

SHOWN_ROWS = 100_000
METHOD = "1"
"""Version of the method; a change makes every stored projection one of another key."""

_MAX_VALUES = 200_000_000
_SEED = 11


@dataclass(frozen=True, slots=True)
class ExplorerInput:
    """What to explore; see ExploreRequest of the contract."""

    of: EvaluationInput
    source: FeatureSource
    method: ProjectionMethod
    variant: Variant
    cache_prefix: str

    def resolved(self) -> "ExplorerInput":
        """Fill in the defaults: input features, UMAP, int8 where it exists."""
        names = {file.name for file in self.of.run_files}
        variant = self.variant
        if variant is Variant.UNSPECIFIED:
            has_int8 = MODEL_NAMES[Variant.INT8] in names
            variant = Variant.INT8 if has_int8 else Variant.FLOAT32
        return replace(
            self,
            source=self.source or FeatureSource.INPUT,
            method=self.method or ProjectionMethod.UMAP,
            variant=variant,
        )

    def fingerprint(self) -> str:
        """Digest of everything that the points depend on."""
        told = [self.of.fingerprint(), METHOD, self.source, self.method, self.variant]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Points:
    """Points as columns of equal length.

    Attributes:
        xy: Float32, shape (points, 2).
        rows: Row index of each in the dataset, increasing.
        labels: Actual class.
        predictions: Predicted class.
        sides: SplitSide of each.
        sample_ids: The dataset's own ids; None if it has none.
        fitted_count: Points that the projection was computed from.
        row_count: Rows of the dataset that are on some side.
        explained: Share of variance along each axis, for PCA.
    """

    xy: NDArray[np.float32]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    sides: NDArray[np.uint8]
    sample_ids: NDArray[np.str_] | None
    fitted_count: int
    row_count: int
    explained: tuple[float, ...]


class Explorer:
    """Projects runs; blocks, and may be called from several threads."""

    def __init__(
        self,
        store: ObjectStore,
        data: DatasetCache,
        models: ModelRunner,
        evaluator: Evaluator,
        projector: Projector,
    ) -> None:
        self._store = store
        self._data = data
        self._models = models
        self._evaluator = evaluator
        self._projector = projector
        self._arrays = ArrayCache(store)

    def explore(self, wanted: ExplorerInput) -> Points:
        """Give the points of a run; `wanted` must be resolved.

        Raises:
            InvalidInput: A file can't be used; names it, with a stable reason.
            NotFound: The store lacks a file.
        """
        files = by_name(wanted.of.run_files, "run_files", [MODEL_NAMES[wanted.variant]])
        dataset_files = by_name(
            wanted.of.dataset_files, "dataset_files", [datasets.FEATURES, datasets.LABELS]
        )
        dataset = self._data.get(dataset_files, len(wanted.of.classes))
        split = self._evaluator.split(wanted.of, files, len(dataset.labels))
        sides = np.zeros(len(dataset.labels), np.uint8)
        for side in (SplitSide.VALIDATION, SplitSide.TEST, SplitSide.TRAINING):
            sides[split.side(side)] = side
        everything = np.flatnonzero(sides)
        rows = _shown(everything, dataset)
        points, predictions = self._computed(wanted, files, dataset, rows)
        sample_ids = dataset.samples.sample_id
        return Points(
            xy=points["xy"],
            rows=rows,
            labels=dataset.labels[rows],
            predictions=predictions["predictions"],
            sides=sides[rows],
            sample_ids=None if sample_ids is None else sample_ids[rows],
            fitted_count=int(points["fitted"][0]),
            row_count=len(everything),
            explained=tuple(points["explained"].tolist()),
        )

    def _computed(
        self,
        wanted: ExplorerInput,
        files: Mapping[str, FileRef],
        dataset: Dataset,
        rows: NDArray[np.int64],
    ) -> tuple[Arrays, Arrays]:
        model = files[MODEL_NAMES[wanted.variant]]
        of_data = [METHOD, wanted.of.dataset_digest, *_digests(files, SPLIT, MANIFEST)]
        of_model = [*of_data, *_digests(files, model.name)]
        embedding = wanted.source is FeatureSource.EMBEDDING
        ran: list[ModelRun] = []

        def run_model() -> ModelRun:
            if not ran:
                ran.append(self._run(model, files, dataset, rows, embedding=embedding))
            return ran[0]

        def compute_points() -> Arrays:
            vectors = run_model().embeddings if embedding else None
            matrix = self._inputs(files, dataset, rows) if vectors is None else vectors
            found = self._projector.project(matrix, wanted.method)
            return {
                "xy": found.points,
                "fitted": np.array([found.fitted_count]),
                "explained": np.array(found.explained, dtype=np.float64),
            }

        def compute_predictions() -> Arrays:
            return {"predictions": run_model().scores.floats().argmax(axis=1)}

        of_points = [*(of_model if embedding else of_data), wanted.source, wanted.method]
        points = self._arrays.get(wanted.cache_prefix, "points", of_points, compute_points)
        told = self._arrays.get(wanted.cache_prefix, "predicted", of_model, compute_predictions)
        return points, told

    def _inputs(
        self, files: Mapping[str, FileRef], dataset: Dataset, rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        features = features_view(dataset.features.view())[rows]
        scaler = self._evaluator.scaler(files)
        scaled = features.astype(np.float32) if scaler is None else scaler.apply(features)
        return scaled.reshape(len(rows), -1)

    def _run(
        self,
        model: FileRef,
        files: Mapping[str, FileRef],
        dataset: Dataset,
        rows: NDArray[np.int64],
        *,
        embedding: bool,
    ) -> ModelRun:
        return self._models.run(
            read(self._store, model, limit_bytes=MODEL_LIMIT_BYTES),
            dataset.features,
            field=f"run_files[{model.name}]",
            scaler=self._evaluator.scaler(files),
            rows=rows,
            embedding=embedding,
        )


def _digests(files: Mapping[str, FileRef], *names: str) -> list[str]:
    return [f"{name}:{files[name].sha256 or files[name].key}" for name in names if name in files]


def _shown(rows: NDArray[np.int64], dataset: Dataset) -> NDArray[np.int64]:
    """Choose at most 100,000 rows, fewer of very wide ones, evenly at random."""
    limit = min(SHOWN_ROWS, max(1, _MAX_VALUES // math.prod(dataset.input_shape)))
    if len(rows) <= limit:
        return rows
    random = np.random.Generator(np.random.PCG64(_SEED))
    return np.sort(random.choice(rows, limit, replace=False))
