"""`linnet train`."""

from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import run_pb2

from linnet_sdk.cli.exit_codes import CommandExit
from linnet_sdk.cli.following import follow_or_leave
from linnet_sdk.cli.report import show_report
from linnet_sdk.cli.session import Session, connected
from linnet_sdk.cli.spec_options import SpecOptions, build
from linnet_sdk.names import short_name


@connected
def train(
    session: Session,
    dataset: Annotated[str, typer.Argument(help="The dataset's id or full name.")],
    *,
    preset: Annotated[str | None, typer.Option(help="Architecture preset.")] = None,
    layers: Annotated[Path | None, typer.Option(help="Layer list, a JSON file.")] = None,
    script: Annotated[Path | None, typer.Option(help="Expert mode: a Python script.")] = None,
    spec: Annotated[
        Path | None, typer.Option(help="A TrainingSpec as JSON; options change it.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Training cycles.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step size.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    validation_share: Annotated[
        float | None, typer.Option(help="Share of rows that choose the epoch.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Share of rows that nothing is chosen by.")
    ] = None,
    test_groups: Annotated[
        str, typer.Option(help="Groups whose rows are the test set, comma between.")
    ] = "",
    target: Annotated[str | None, typer.Option(help="The microcontroller to fit.")] = None,
    title: Annotated[str, typer.Option(help="For people.")] = "",
    run_id: Annotated[str, typer.Option("--id", help="The run's id; made when left out.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
) -> None:
    """Train a classifier on a dataset and show how good and how large it is."""
    made = build(
        SpecOptions(
            dataset=dataset,
            spec_file=spec,
            preset=preset,
            layers_file=layers,
            script_file=script,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
            validation_share=validation_share,
            test_share=test_share,
            test_groups=tuple(g.strip() for g in test_groups.split(",") if g.strip()),
            target=target,
        )
    )
    run = session.client.create_run(run_pb2.Run(display_name=title, spec=made), run_id=run_id)
    if detach:
        session.show(run, lambda: short_name(run.name))
        return
    ended = follow_or_leave(session.client, run, session.console, json=session.json)
    if not session.json and ended.state == run_pb2.RUN_STATE_SUCCEEDED:
        show_report(session.client.report(run.name), session.console)
    end_with(ended)


def end_with(run: run_pb2.Run) -> None:
    """End the command with an exit code that tells whether the run succeeded."""
    if run.state != run_pb2.RUN_STATE_SUCCEEDED:
        raise typer.Exit(CommandExit.RUN_DID_NOT_SUCCEED)
