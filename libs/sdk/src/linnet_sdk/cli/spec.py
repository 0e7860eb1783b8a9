"""`linnet spec`: check, size, import and render specs before any training."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format
from linnet.v1 import dataset_pb2
from rich.text import Text

from linnet_sdk.cli import options, spec_tables
from linnet_sdk.cli.output import print_json
from linnet_sdk.cli.session import Session, connected
from linnet_sdk.cli.spec_options import SpecOptions, build, input_kind
from linnet_sdk.edge_impulse import import_file

app = typer.Typer(help="Check, size, import and render training specs.", no_args_is_help=True)

Dataset = Annotated[
    str | None, typer.Argument(help="The dataset's id or full name; else the file's.")
]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="A TrainingSpec as JSON.")]
Preset = Annotated[str | None, typer.Option(help="Architecture preset.")]
Layers = Annotated[Path | None, typer.Option(help="Layer list, a JSON file.")]
Target = Annotated[str | None, typer.Option(help="The microcontroller to fit.")]


@app.command()
@connected
def check(
    session: Session,
    dataset: Dataset = None,
    *,
    spec: SpecFile = None,
    preset: Preset = None,
    layers: Layers = None,
    target: Target = None,
) -> None:
    """Check a spec and estimate its RAM, flash and time on the target, without training."""
    made = build(
        SpecOptions(
            dataset=dataset, spec_file=spec, preset=preset, layers_file=layers, target=target
        )
    )
    found = session.client.validate_spec(made)
    session.show(found, lambda: spec_tables.preview(found, boxed=session.console.is_terminal))


@app.command()
@connected
def script(
    session: Session,
    dataset: Dataset = None,
    *,
    spec: SpecFile = None,
    preset: Preset = None,
    layers: Layers = None,
) -> None:
    """Print the expert script that does what a preset or layer list does."""
    made = build(SpecOptions(dataset=dataset, spec_file=spec, preset=preset, layers_file=layers))
    found = session.client.render_script(made)
    session.show(found, lambda: Text(found.script.removesuffix("\n")))


@app.command("import")
def import_(
    settings: Annotated[
        Path, typer.Argument(help="Settings of an Edge Impulse Keras block, a JSON file.")
    ],
    *,
    to: Annotated[Path | None, typer.Option(help="File to write the TrainingSpec to.")] = None,
    json: options.Json = False,
) -> None:
    """Turn settings of an Edge Impulse Keras block into a spec for `linnet train --spec`."""
    spec, notes = import_file(settings)
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    text = json_format.MessageToJson(spec, preserving_proto_field_name=True)
    if to is not None:
        to.write_text(f"{text}\n", encoding="utf-8")
    elif json:
        print_json(spec)
    else:
        sys.stdout.write(f"{text}\n")


@app.command()
@connected
def presets(
    session: Session,
    *,
    kind: Annotated[str, typer.Option(help="Only presets for this kind of input.")] = "",
) -> None:
    """List the architecture presets."""
    wanted = input_kind(kind) if kind else dataset_pb2.INPUT_KIND_UNSPECIFIED
    found = session.client.list_presets(wanted)
    session.show(
        found, lambda: spec_tables.presets(found.presets, boxed=session.console.is_terminal)
    )


@app.command("layers")
@connected
def layer_types(session: Session) -> None:
    """List the kinds of layers and what each takes."""
    found = session.client.list_layer_types()
    session.show(
        found, lambda: spec_tables.layer_types(found.types, boxed=session.console.is_terminal)
    )
