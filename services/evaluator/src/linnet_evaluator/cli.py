"""The command `linnet evaluate`; it needs no server."""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from linnet_ml import datasets, npy
from linnet_ml.scaling import Scaler
from linnet_runtime.errors import InvalidInput
from linnet_runtime.sandbox import Limits, Sandbox, SharedBytes

from linnet_evaluator.model_runner import ModelRunner
from linnet_evaluator.run_files import read_scaler
from linnet_evaluator.scoring import as_dict, score_all
from linnet_evaluator.stored_data import read_labels
from linnet_evaluator.terminal import print_scoring

_GROUPS_LIMIT_BYTES = 1 << 30


def _scaler(manifest: Path | None) -> Scaler | None:
    return None if manifest is None else read_scaler(_read(manifest, "--manifest"))


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput.of(
            field, f"expected a readable file, received {path}: {error.strerror}"
        ) from error


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
    wall_s: Annotated[float, typer.Option(help="Longest time for the model, in seconds.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a .tflite file on features and labels; the confusion matrix has rows = actual class."""
    scaler = _scaler(manifest)
    sandbox = Sandbox()
    try:
        data = _read(features, "--features")
        with features.open("rb") as file:
            count = datasets.check_features(file).shape[0]
        with SharedBytes(data) as shared:
            run = ModelRunner(sandbox, Limits(wall_s=wall_s, memory_bytes=4 << 30)).run(
                _read(model, "MODEL"), shared, field=str(model), scaler=scaler
            )
    finally:
        sandbox.close()
    scores = run.scores.floats()
    actual = read_labels(_read(labels, "--labels"), count, scores.shape[1])
    named = None
    if groups is not None:
        with groups.open("rb") as file:
            named = npy.read_all(file, str(groups), limit_bytes=_GROUPS_LIMIT_BYTES)
    scoring = score_all(scores, np.asarray(actual), named)
    if as_json:
        sys.stdout.write(json.dumps(as_dict(scoring)) + "\n")
    else:
        print_scoring(scoring)
