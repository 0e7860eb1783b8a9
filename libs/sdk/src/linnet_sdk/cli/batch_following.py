"""A batch as it goes on: a progress bar in a terminal, lines when piped, JSON lines."""

import sys
from collections.abc import Iterable

import typer
from linnet.v1 import batch_pb2, training_service_pb2
from linnet_runtime.errors import Internal
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from linnet_sdk.cli import batch_tables
from linnet_sdk.cli.exit_codes import CommandExit
from linnet_sdk.cli.output import print_json
from linnet_sdk.cli.session import Session
from linnet_sdk.names import short_name


def follow_or_leave(session: Session, batch: str) -> batch_pb2.Batch:
    """Show a batch until it is done; Ctrl-C leaves it to itself and ends the command."""
    name = short_name(batch)
    try:
        return follow(session.client.batches.watch(batch), session.console, json=session.json)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\n{name} goes on: linnet batches watch {name}, or linnet batches cancel {name}\n"
        )
        raise typer.Exit(CommandExit.INTERRUPTED) from None


def follow(
    responses: Iterable[training_service_pb2.WatchBatchResponse], console: Console, *, json: bool
) -> batch_pb2.Batch:
    """Show a batch until it is done and give it as it then is."""
    last: batch_pb2.Batch | None = None
    if json:
        for response in responses:
            last = response.batch
            print_json(response)
    elif console.is_terminal:
        last = _follow_bar(responses, console)
    else:
        for response in responses:
            last = response.batch
            console.print(batch_tables.progress_line(last), markup=False, soft_wrap=True)
    if last is None:
        raise Internal("the stream of the batch's changes told of no batch")
    return last


def _follow_bar(
    responses: Iterable[training_service_pb2.WatchBatchResponse], console: Console
) -> batch_pb2.Batch | None:
    last: batch_pb2.Batch | None = None
    columns = (
        TextColumn("{task.fields[state]:<9}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=1, state="", figures="")
        for response in responses:
            last = response.batch
            failures = batch_tables.failures_text(last)
            eta = batch_tables.eta_text(last)
            figures = [f"failed: {failures}" if failures else "", f"eta {eta}" if eta else ""]
            progress.update(
                task,
                total=max(1, last.run_count),
                completed=batch_tables.done_count(last),
                state=batch_tables.state_word(last),
                figures="  ".join(figure for figure in figures if figure),
            )
    return last


def end_with(batch: batch_pb2.Batch) -> None:
    """End the command with an exit code that tells whether every run succeeded."""
    if batch_tables.succeeded_count(batch) < batch.run_count:
        raise typer.Exit(CommandExit.RUN_DID_NOT_SUCCEED)
