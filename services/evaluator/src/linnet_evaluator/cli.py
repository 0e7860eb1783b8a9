"""The command `linnet evaluate`; it needs no server."""

import io
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from linnet_ml import datasets, npy
from linnet_runtime.errors import InvalidInput
from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes
from numpy.typing import NDArray

from linnet_evaluator.running.model_runner import ModelRunner
from linnet_evaluator.scores.scoring import as_dict, score_all
from linnet_evaluator.stored.run_files import read_scaler
from linnet_evaluator.terminal import print_scoring

_GROUPS_LIMIT_BYTES = 1 << 30


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.of(
            field, f"expected a readable file, received {path}: {error.strerror}"
        ) from error


def _read_rows(path: Path, field: str, count: int, limit_bytes: int) -> NDArray[Any]:
    found = npy.read_all(io.BytesIO(_read(path, field)), field, limit_bytes=limit_bytes)
    if found.shape != (count,):
        raise InvalidInput.of(
            field, f"expected shape ({count},) as features have, received {found.shape}"
        )
    return found


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="The model file.")],
    features: Annotated[Path, typer.Option(help="Features, .npy of shape (rows, ...).")],
    *,
    labels: Annotated[Path, typer.Option(help="Actual classes from 0, .npy of integers.")],
    groups: Annotated[
        Path | None, typer.Option(help="Subject or recording of each row, .npy.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="The run's manifest.json, which holds its input scaling.")
    ] = None,
    wall_s: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Longest time for the model, in seconds.")
    ] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a .tflite file on features and labels; the confusion matrix has rows = actual class."""
    if math.isnan(wall_s):  # which no range excludes
        raise InvalidInput.of("--wall-s", "expected a number of seconds, received nan")
    table = _read(model, "MODEL")
    data = _read(features, "--features")
    count = datasets.check_features(io.BytesIO(data)).shape[0]
    scaler = None if manifest is None else read_scaler(_read(manifest, "--manifest"))
    # What is wrong with these should not wait for the model.
    actual = _read_rows(labels, "--labels", count, datasets.MAX_LABELS_BYTES)
    named = None
    if groups is not None:
        named = _read_rows(groups, "--groups", count, _GROUPS_LIMIT_BYTES)
    sandbox = Sandbox()
    try:
        with SharedBytes(data) as shared:
            run = ModelRunner(sandbox, Limits(wall_s=wall_s, memory_bytes=4 << 30)).run(
                table, shared, field=str(model), scaler=scaler
            )
    finally:
        sandbox.close()
    scoring = score_all(run.scores.floats(), actual, named)
    if as_json:
        sys.stdout.write(json.dumps(as_dict(scoring), allow_nan=False) + "\n")
    else:
        print_scoring(scoring)
