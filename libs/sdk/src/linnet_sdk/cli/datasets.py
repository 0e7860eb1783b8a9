"""`linnet datasets`: push, list, get, download, delete."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput
from rich.console import Group

from linnet_sdk import examples
from linnet_sdk.cli import tables
from linnet_sdk.cli.output import as_dict
from linnet_sdk.cli.session import Session, connected
from linnet_sdk.cli.spec_options import INPUT_KINDS, input_kind
from linnet_sdk.dataset_files import FEATURES_FILE, LABELS_FILE, SAMPLES_FILE
from linnet_sdk.names import short_name

app = typer.Typer(help="Push, list, read and download datasets.", no_args_is_help=True)

DatasetName = Annotated[str, typer.Argument(help="The dataset's id or full name.")]


@app.command()
@connected
def push(
    session: Session,
    *,
    example: Annotated[
        str | None,
        typer.Option(help=f"A real dataset that is built in: {', '.join(examples.NAMES)}."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="features.npy: float32, shape (samples, ...).")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="labels.npy: class indices, shape (samples,).")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            help="samples.npz: sample_id and, optionally, group, recording, test, validation."
        ),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Class names in order of index, comma between.")
    ] = "",
    kind: Annotated[str, typer.Option(help=f"What features are: {', '.join(INPUT_KINDS)}.")] = "",
    feature_names: Annotated[
        str, typer.Option(help="Names of columns or channels, comma between.")
    ] = "",
    title: Annotated[str, typer.Option(help="For people.")] = "",
    dataset_id: Annotated[str, typer.Option("--id", help="Its id; made when left out.")] = "",
) -> None:
    """Push a dataset: files of your own, or a built-in example."""
    client = session.client
    if example is not None:
        dataset = client.push(examples.load(example), dataset_id=dataset_id or example)
    else:
        if features is None or labels is None:
            raise InvalidInput.of("features", "expected --features and --labels, or --example")
        paths = {FEATURES_FILE: features, LABELS_FILE: labels}
        if samples is not None:
            paths[SAMPLES_FILE] = samples
        record = dataset_pb2.Dataset(
            display_name=title,
            input_kind=input_kind(kind),
            classes=_split(classes),
            feature_names=_split(feature_names),
        )
        dataset = client.create_dataset(record, paths, dataset_id=dataset_id)
    session.show(dataset, lambda: tables.dataset_line(dataset))


@app.command("list")
@connected
def list_(
    session: Session,
    *,
    limit: Annotated[int, typer.Option(help="Most datasets to show.", min=1)] = 50,
) -> None:
    """List datasets, newest first."""
    found = list(islice(session.client.list_datasets(), limit))
    session.show(
        {"datasets": [as_dict(dataset) for dataset in found]},
        lambda: tables.datasets(found, boxed=session.console.is_terminal),
    )


@app.command()
@connected
def get(session: Session, dataset: DatasetName) -> None:
    """Show a dataset."""
    found = session.client.get_dataset(dataset)
    session.show(
        found,
        lambda: Group(
            tables.dataset_line(found),
            tables.class_counts(found, boxed=session.console.is_terminal),
        ),
    )


@app.command()
@connected
def download(
    session: Session,
    dataset: DatasetName,
    *,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
) -> None:
    """Download the files of a dataset."""
    paths = session.client.download_dataset(dataset, to)
    session.show(
        {"files": {name: str(path) for name, path in paths.items()}},
        lambda: "\n".join(f"{name}  {path}" for name, path in paths.items()),
    )


@app.command()
@connected
def delete(session: Session, dataset: DatasetName) -> None:
    """Delete a dataset that no live run uses."""
    session.client.delete_dataset(dataset)
    session.show({"deleted": dataset}, lambda: f"deleted {short_name(dataset)}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
