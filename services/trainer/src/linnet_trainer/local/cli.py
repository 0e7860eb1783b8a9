"""Commands that need no gateway: `fit` and `reproduce`. They import TensorFlow when called."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from linnet_ml.spec import InputKind
from linnet_runtime.errors import InvalidInput
from linnet_runtime.lifecycle import ExitCode

from linnet_trainer.local.files import LocalFiles

DIFFERENT = 1
"""Exit code of `reproduce` where the weights are others."""


def fit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="A TrainingSpec in JSON.")],
    features: Annotated[Path, typer.Option(help="Features, .npy of shape (rows, ...).")],
    labels: Annotated[Path, typer.Option(help="Classes from 0, .npy of integers.")],
    out: Annotated[Path, typer.Option(help="Folder for the artifacts; made if missing.")],
    *,
    groups: Annotated[Path | None, typer.Option(help="Group of each row, .npy.")] = None,
    recordings: Annotated[Path | None, typer.Option(help="Recording of each row, .npy.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test rows, .npy of bool.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation rows, .npy of bool.")] = None,
    classes: Annotated[str, typer.Option(help="Class names with commas between.")] = "",
    input_kind: Annotated[
        str, typer.Option(help="tabular, spectral, time_series, audio or image; guessed if empty.")
    ] = "",
    initial_model: Annotated[Path | None, typer.Option(help="A model.keras to start from.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train, export and write a run's artifacts without a gateway; resumes what --out holds."""
    from linnet_trainer.local.run import LocalRun, run_locally

    files = LocalFiles(
        features, labels, groups=groups, recordings=recordings, test=test, validation=validation
    )
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    run = LocalRun(spec, files, out, names, _kind(input_kind), initial_model)
    result = run_locally(run, (lambda _line: None) if as_json else _print)
    if result is None:
        raise typer.Exit(ExitCode.TERMINATED)
    sys.stdout.write(json.dumps(result) + "\n" if as_json else f"Artifacts are in {out}.\n")


def reproduce(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.json or folder.")],
    features: Annotated[Path, typer.Option(help="The dataset's features.npy.")],
    labels: Annotated[Path, typer.Option(help="The dataset's labels.npy.")],
    *,
    samples: Annotated[Path | None, typer.Option(help="The dataset's samples.npz.")] = None,
    groups: Annotated[Path | None, typer.Option(help="Group of each row, .npy.")] = None,
    recordings: Annotated[Path | None, typer.Option(help="Recording of each row, .npy.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test rows, .npy of bool.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation rows, .npy of bool.")] = None,
    initial_model: Annotated[Path | None, typer.Option(help="What the run started from.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a run again from its manifest.json and compare the weights, bit for bit."""
    from linnet_trainer.local import reproducing

    files = LocalFiles(
        features,
        labels,
        groups=groups,
        recordings=recordings,
        test=test,
        validation=validation,
        samples=samples,
    )
    say = (lambda _line: None) if as_json else _print
    result = reproducing.reproduce(reproducing.read_manifest(manifest), files, initial_model, say)
    if as_json:
        sys.stdout.write(json.dumps(reproducing.as_json(result)) + "\n")
    else:
        for line in result.lines():
            _print(line)
    if not result.equal:
        raise typer.Exit(DIFFERENT)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _kind(text: str) -> InputKind | None:
    if not text:
        return None
    try:
        return InputKind[text.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(kind.name.lower() for kind in InputKind if kind)
        raise InvalidInput.of(
            "--input-kind", f"expected one of {known}, received {text!r}"
        ) from None
