"""`linnet runs reproduce`: trains a run again here and compares the weights, bit for bit."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import run_pb2
from linnet_runtime.errors import InvalidInput, Unavailable

from linnet_sdk.cli.session import Session, connected
from linnet_sdk.client import Client
from linnet_sdk.dataset_files import FEATURES_FILE, LABELS_FILE, SAMPLES_FILE

_TRAINER = "linnet_trainer"
_MODEL = "model.keras"


@connected
def reproduce(
    session: Session,
    run: Annotated[str, typer.Argument(help="The run's id or full name.")],
    *,
    features: Annotated[
        Path | None,
        typer.Option(help="The dataset's features.npy; the gateway's when left out."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Its labels.npy, with --features and not without.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="Its samples.npz, if it has one.")] = None,
    initial_model: Annotated[
        Path | None,
        typer.Option(help="The model.keras that it started from; the gateway's when left out."),
    ] = None,
) -> None:
    """Train a run again on this machine and compare the weights, bit for bit."""
    require_trainer()
    given = {FEATURES_FILE: features, LABELS_FILE: labels, SAMPLES_FILE: samples}
    files = {name: path for name, path in given.items() if path is not None}
    if files and (features is None or labels is None):
        raise InvalidInput.of("features", "expected --features and --labels, or neither")
    with tempfile.TemporaryDirectory(prefix="linnet-reproduce-") as made:
        folder = Path(made)
        found = session.client.get_run(run)
        manifest = session.client.download(run, "manifest.json", folder / "manifest.json")
        files = files or session.client.download_dataset(found.spec.dataset, folder)
        initial = initial_model or _initial_model(session.client, found, folder)
        command = [sys.executable, "-m", _TRAINER, "reproduce", str(manifest)]
        for name, path in files.items():
            command += [f"--{Path(name).stem}", str(path)]
        command += [] if initial is None else ["--initial-model", str(initial)]
        command += ["--json"] if session.json else []
        code = subprocess.run(command, check=False).returncode
    if code:
        raise typer.Exit(code)


def _initial_model(client: Client, run: run_pb2.Run, folder: Path) -> Path | None:
    if not run.spec.init_from:
        return None
    return client.download(run.spec.init_from, _MODEL, folder / "initial.keras")


def require_trainer() -> None:
    """Refuse where the trainer is not installed.

    Raises:
        Unavailable: It is not.
    """
    if importlib.util.find_spec(_TRAINER) is None:
        raise Unavailable(
            "Reproducing a run needs the trainer on this machine: install linnet-trainer, or run "
            "`linnet-trainer reproduce manifest.json` where it is.",
            reason="TRAINER_NOT_INSTALLED",
        )
