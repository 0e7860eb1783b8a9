"""Scores rows with a .tflite file; only ever inside a sandbox's child."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from numpy.typing import NDArray

from linnet_evaluator.exploring.features import features_view
from linnet_evaluator.running.interpreter import Tensor, find_embedding, find_ends, open_model
from linnet_evaluator.running.row_batches import RowBatches

_CHUNK_ROWS = 4096


def _read_scaler(stored: dict[str, Any] | None, features: int) -> Scaler | None:
    """Read a scaling of the last axis; None where there is nothing to scale."""
    scaler = Scaler.from_dict(stored) if stored else None
    if scaler is None or not scaler.offset.size:
        return None
    if scaler.offset.shape != (features,) or scaler.factor.shape != (features,):
        raise InvalidInput.of(
            "manifest.input_scaling",
            f"expected offset and factor of {features} features, received shapes "
            f"{scaler.offset.shape} and {scaler.factor.shape}",
        )
    return scaler


def _prepare(features: NDArray[Any], scaler: Scaler | None, given: Tensor) -> NDArray[Any]:
    """Scale and quantize rows as the firmware does, shape (rows, *input shape of the model)."""
    rows = features.astype(np.float32)
    if given.dtype == np.float32:
        if scaler is not None:
            rows = scaler.apply(rows)
    else:
        if scaler is None:
            multiplier = np.asarray([1 / given.scale], dtype=np.float32)
            addend = np.asarray([given.zero_point], dtype=np.float32)
        else:
            multiplier, addend = scaler.merged(given.scale, given.zero_point)
        rows *= multiplier
        rows += addend
        limits = np.iinfo(given.dtype)
        rounded = np.trunc(rows + np.copysign(np.float32(0.5), rows))
        rows = np.clip(rounded, limits.min, limits.max).astype(given.dtype)
    return rows.reshape(len(features), *given.shape[1:])


def _check_columns(columns: int, classes: int) -> None:
    """Allow a column a class, or one sigmoid for two classes."""
    if classes and columns != classes and (columns, classes) != (1, 2):
        raise InvalidInput.of(
            "model",
            f"expected {classes} scores a row, received {columns}",
            reason="MODEL_SIGNATURE_MISMATCH",
        )


def run(
    arguments: dict[str, Any], inputs: Sequence[memoryview]
) -> tuple[dict[str, Any], list[memoryview]]:
    """Score rows with a model.

    Args:
        arguments: `scaling` (as a manifest stores it, or None), `classes` (columns of the output;
            0 takes any) and `embedding` (whether to give the classifier's input too).
        inputs: The .tflite file; features.npy; row indices as int64 bytes, empty for every row.

    Returns:
        `dtype`, `scale` and `zero_point` of the scores, `columns` of them, `embedding_size`,
        `batch_rows` and `seconds` of the loop; then the raw scores, (rows, columns), and, if asked
        for, the embeddings as float32, (rows, embedding_size).

    Raises:
        InvalidInput: LiteRT refuses the model, or its input or output does not fit the data.
    """
    model, chosen = bytes(inputs[0]), np.frombuffer(inputs[2], np.int64)
    features = features_view(inputs[1])
    scaler = _read_scaler(arguments["scaling"], features.shape[-1])
    rows = chosen if chosen.size else np.arange(len(features))
    opened = open_model(model, keep_tensors=bool(arguments["embedding"]))
    given, taken = find_ends(opened, math.prod(features.shape[1:]))
    embedding = find_embedding(opened, taken.index) if arguments["embedding"] else None
    begun = time.perf_counter()
    batches = RowBatches(model, opened, given, None if embedding is None else embedding.index)
    scores: list[NDArray[Any]] = []
    vectors: list[NDArray[Any]] = []
    for start in range(0, len(rows), _CHUNK_ROWS):
        ready = _prepare(features[rows[start : start + _CHUNK_ROWS]], scaler, given)
        if start == 0:
            batches.prepare(ready)
        score, vector = batches.run(ready)
        scores.append(score)
        if vector is not None:
            vectors.append(vector)
    seconds = time.perf_counter() - begun
    table = np.ascontiguousarray(np.concatenate(scores))
    _check_columns(table.shape[1], int(arguments["classes"]))
    outputs = [table.data]
    size = 0
    if embedding is not None:
        found = np.concatenate(vectors).astype(np.float32)
        if embedding.scale:
            found = (found - embedding.zero_point) * np.float32(embedding.scale)
        size = found.shape[1]
        outputs.append(np.ascontiguousarray(found).data)
    described = {
        "dtype": table.dtype.name,
        "scale": taken.scale,
        "zero_point": taken.zero_point,
        "columns": int(table.shape[1]),
        "embedding_size": size,
        "batch_rows": batches.batch_rows,
        "seconds": seconds,
    }
    return described, outputs
