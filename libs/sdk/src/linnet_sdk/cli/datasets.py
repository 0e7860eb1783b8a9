"""`linnet datasets`: push, list, get, delete."""

from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput

from linnet_sdk import examples
from linnet_sdk.cli import options, tables
from linnet_sdk.cli.output import as_dict, make_console, print_json
from linnet_sdk.dataset_files import FEATURES_FILE, LABELS_FILE, SAMPLES_FILE
from linnet_sdk.names import short_name

app = typer.Typer(help="Push, list and read datasets.", no_args_is_help=True)

_KINDS = {
    name.removeprefix("INPUT_KIND_").lower().replace("_", "-"): number
    for name, number in dataset_pb2.InputKind.items()
    if number
}


@app.command()
def push(
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
        typer.Option(help="samples.npz: sample_id and, optionally, group, recording, test."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Class names in order of index, comma between.")
    ] = "",
    kind: Annotated[str, typer.Option(help=f"What features are: {', '.join(_KINDS)}.")] = "",
    feature_names: Annotated[
        str, typer.Option(help="Names of columns or channels, comma between.")
    ] = "",
    title: Annotated[str, typer.Option(help="For people.")] = "",
    dataset_id: Annotated[str, typer.Option("--id", help="Its id; made when left out.")] = "",
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Push a dataset: files of your own, or a built-in example."""
    if example is not None:
        arrays = examples.load(example)
        with options.connect(server, token, home, project) as client:
            dataset = client.push(arrays, dataset_id=dataset_id or example)
    else:
        if features is None or labels is None:
            raise InvalidInput.of("features", "expected --features and --labels, or --example")
        if kind not in _KINDS:
            raise InvalidInput.of(
                "dataset.input_kind", f"expected one of {', '.join(_KINDS)}, received {kind!r}"
            )
        paths = {FEATURES_FILE: features, LABELS_FILE: labels}
        if samples is not None:
            paths[SAMPLES_FILE] = samples
        record = dataset_pb2.Dataset(
            display_name=title,
            input_kind=_KINDS[kind],
            classes=_split(classes),
            feature_names=_split(feature_names),
        )
        with options.connect(server, token, home, project) as client:
            dataset = client.create_dataset(record, paths, dataset_id=dataset_id)
    if json:
        print_json(dataset)
    else:
        make_console().print(tables.dataset_line(dataset), soft_wrap=True)


@app.command("list")
def list_(
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """List datasets, newest first."""
    with options.connect(server, token, home, project) as client:
        found = list(client.list_datasets())
    if json:
        print_json({"datasets": [as_dict(dataset) for dataset in found]})
    else:
        console = make_console()
        console.print(tables.datasets(found, boxed=console.is_terminal))


@app.command()
def get(
    dataset: Annotated[str, typer.Argument(help="Its id or full name.")],
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Show a dataset."""
    with options.connect(server, token, home, project) as client:
        found = client.get_dataset(dataset)
    if json:
        print_json(found)
        return
    console = make_console()
    console.print(tables.dataset_line(found), soft_wrap=True)
    console.print(tables.class_counts(found, boxed=console.is_terminal))


@app.command()
def delete(
    dataset: Annotated[str, typer.Argument(help="Its id or full name.")],
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Delete a dataset that no live run uses."""
    with options.connect(server, token, home, project) as client:
        client.delete_dataset(dataset)
    if json:
        print_json({"deleted": dataset})
    else:
        make_console().print(f"deleted {short_name(dataset)}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
