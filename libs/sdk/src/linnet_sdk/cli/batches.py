"""`linnet batches`: create, retrain, list, get, watch, steer, results."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import batch_pb2, run_pb2
from linnet.v1 import training_service_pb2 as service
from linnet_runtime.errors import InvalidInput
from rich.text import Text

from linnet_sdk.batch_chunks import Item
from linnet_sdk.cli import batch_plan, batch_tables
from linnet_sdk.cli.batch_following import end_with, follow_or_leave
from linnet_sdk.cli.batch_plan import BatchOptions
from linnet_sdk.cli.output import as_dict
from linnet_sdk.cli.session import Session, connected
from linnet_sdk.cli.spec_options import SpecOptions, build
from linnet_sdk.names import short_name
from linnet_sdk.retraining import again

app = typer.Typer(help="Train, retrain and steer many runs at once.", no_args_is_help=True)

BatchName = Annotated[str, typer.Argument(help="The batch's id or full name.")]
Title = Annotated[str, typer.Option(help="For people.")]
BatchId = Annotated[str, typer.Option("--id", help="The batch's id; made when left out.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")]
ShardSize = Annotated[int, typer.Option(help="Runs of one shard; 0 lets the gateway choose.")]
Parallelism = Annotated[int, typer.Option(help="Shards at once; 0 means the project's limit.")]
Priority = Annotated[int, typer.Option(help="Higher goes first within the project.")]


@app.command()
@connected
def create(
    session: Session,
    dataset: Annotated[str | None, typer.Argument(help="The dataset's id or full name.")] = None,
    *,
    spec: Annotated[
        Path | None, typer.Option(help="The template: a TrainingSpec as JSON; options change it.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Architecture preset.")] = None,
    layers: Annotated[Path | None, typer.Option(help="Layer list, a JSON file.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Training cycles.")] = None,
    target: Annotated[str | None, typer.Option(help="The microcontroller to fit.")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="An axis of a grid, such as fit.learning_rate=0.001,0.01; repeatable."),
    ] = None,
    overrides: Annotated[
        Path | None, typer.Option(help="JSON lines, each a RunOverride of the template.")
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="JSON lines, each a Run.")] = None,
    shard_size: ShardSize = 0,
    parallelism: Parallelism = 0,
    priority: Priority = 0,
    title: Title = "",
    batch_id: BatchId = "",
    detach: Detach = False,
) -> None:
    """Create a batch: a grid over a template, changes of it, or a list of runs."""
    template = build(
        SpecOptions(
            dataset=dataset,
            spec_file=spec,
            preset=preset,
            layers_file=layers,
            epochs=epochs,
            target=target,
        )
    )
    plan = BatchOptions(
        title=title,
        grid=grid or (),
        overrides_file=overrides,
        runs_file=runs,
        shard_size=shard_size,
        parallelism=parallelism,
        priority=priority,
    )
    header = batch_plan.header(plan, template)
    _fill(session, header, batch_plan.items(plan, template), batch_id, detach=detach)


@app.command()
@connected
def retrain(
    session: Session,
    which: Annotated[
        str, typer.Argument(help="The runs to train again, a filter such as 'batch = \"b1\"'.")
    ],
    *,
    dataset: Annotated[str, typer.Option(help="The data to train on; else each run's own.")] = "",
    from_weights: Annotated[
        bool, typer.Option("--from-weights", help="Start from the earlier runs' weights.")
    ] = False,
    shard_size: ShardSize = 0,
    parallelism: Parallelism = 0,
    priority: Priority = 0,
    title: Title = "",
    batch_id: BatchId = "",
    detach: Detach = False,
) -> None:
    """Train succeeded runs again as a batch, and tell which got better or worse."""
    terms = f'{which} AND state = "SUCCEEDED"' if "state" not in which else which
    found = list(session.client.list_runs(filter_text=terms))
    if not found:
        raise InvalidInput.of("which", f"expected runs that succeeded, {terms} selects none")
    new = [again(run, dataset=dataset, from_weights=from_weights) for run in reversed(found)]
    options = BatchOptions(
        title=title, shard_size=shard_size, parallelism=parallelism, priority=priority
    )
    header = batch_plan.header(options, run_pb2.Run().spec)
    header.ClearField("template")
    _fill(session, header, new, batch_id, detach=detach)


def _fill(
    session: Session,
    header: service.BatchHeader,
    items: Sequence[Item],
    batch_id: str,
    *,
    detach: bool,
) -> None:
    batch = batch_pb2.Batch()
    for response in session.client.batches.create(items, header=header, batch_id=batch_id):
        batch = response.batch
        if not session.json and session.console.is_terminal:
            session.console.print(f"accepted {response.accepted_count}", end="\r")
    if detach:
        session.show(batch, lambda: f"{short_name(batch.name)}  {batch.run_count} runs")
        return
    end_with(follow_or_leave(session, batch.name))


@app.command("list")
@connected
def list_(
    session: Session,
    *,
    limit: Annotated[int, typer.Option(help="Most batches to show.", min=1)] = 50,
) -> None:
    """List batches, newest first."""
    found = list(islice(session.client.batches.list(), limit))
    session.show(
        {"batches": [as_dict(batch) for batch in found]},
        lambda: batch_tables.batches(found, boxed=session.console.is_terminal),
    )


def _show(session: Session, batch: batch_pb2.Batch) -> None:
    session.show(batch, lambda: "\n".join(batch_tables.batch_lines(batch)))


@app.command()
@connected
def get(session: Session, batch: BatchName) -> None:
    """Show a batch: runs by state, failures by reason, what became of retrained ones."""
    _show(session, session.client.batches.get(batch))


@app.command()
@connected
def watch(session: Session, batch: BatchName) -> None:
    """Follow a batch until every run is over."""
    end_with(follow_or_leave(session, session.client.batches.get(batch).name))


def _steered(name: str, text: str, act: Callable[[Session, str], batch_pb2.Batch]) -> None:
    def command(session: Session, batch: BatchName) -> None:
        _show(session, act(session, batch))

    command.__doc__ = text
    app.command(name)(connected(command))


_steered(
    "cancel",
    "Cancel every run of a batch that is not over.",
    lambda session, batch: session.client.batches.cancel(batch),
)
_steered(
    "suspend",
    "Launch nothing more of a batch and stop what runs, until it is resumed.",
    lambda session, batch: session.client.batches.suspend(batch),
)
_steered(
    "resume",
    "Go on with a suspended batch.",
    lambda session, batch: session.client.batches.resume(batch),
)
_steered(
    "retry-failed",
    "Create new runs for the failed ones that have no retry yet.",
    lambda session, batch: session.client.batches.retry_failed(batch),
)


@app.command()
@connected
def results(
    session: Session,
    batch: BatchName,
    *,
    to: Annotated[Path | None, typer.Option(help="File to write; else BATCH.parquet.")] = None,
) -> None:
    """Write the results of a batch as one Parquet file, a row a run."""
    path = to or Path(f"{short_name(batch)}.parquet")
    session.client.download_results(batch, path)
    session.show({"results": str(path)}, lambda: Text(str(path)))
