"""`linnet runs reproduce`: trains a run again here and compares the weights, bit for bit."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from linnet_runtime.errors import Unavailable

from linnet_sdk.cli.session import Session, connected

_TRAINER = "linnet_trainer"


@connected
def reproduce(
    session: Session,
    run: Annotated[str, typer.Argument(help="The run's id or full name.")],
    features: Annotated[Path, typer.Option(help="The dataset's features.npy.")],
    labels: Annotated[Path, typer.Option(help="The dataset's labels.npy.")],
    *,
    samples: Annotated[Path | None, typer.Option(help="Its samples.npz, if it has one.")] = None,
    initial_model: Annotated[
        Path | None, typer.Option(help="The model.keras that the run started from.")
    ] = None,
) -> None:
    """Train a run again on this machine and compare the weights, bit for bit."""
    require_trainer()
    with tempfile.TemporaryDirectory(prefix="linnet-reproduce-") as folder:
        manifest = session.client.download(run, "manifest.json", Path(folder) / "manifest.json")
        command = [sys.executable, "-m", _TRAINER, "reproduce", str(manifest)]
        command += ["--features", str(features), "--labels", str(labels)]
        for option, path in (("--samples", samples), ("--initial-model", initial_model)):
            command += [] if path is None else [option, str(path)]
        command += ["--json"] if session.json else []
        code = subprocess.run(command, check=False).returncode
    if code:
        raise typer.Exit(code)


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
