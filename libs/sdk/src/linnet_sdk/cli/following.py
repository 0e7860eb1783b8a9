"""A run's epochs as they come: a progress bar in a terminal, lines when piped, JSON lines."""

import sys
from collections.abc import Iterable
from typing import Protocol, Self

import typer
from linnet.v1 import run_pb2, training_service_pb2
from linnet_runtime.errors import Internal
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from linnet_sdk.cli.exit_codes import CommandExit
from linnet_sdk.cli.output import print_json
from linnet_sdk.client import Client
from linnet_sdk.names import short_name, state_word


class _View(Protocol):
    """Shows a run while it goes on."""

    def run_changed(self, run: run_pb2.Run) -> None: ...

    def epoch_ended(self, epoch: run_pb2.Epoch) -> None: ...


def follow_or_leave(
    client: Client, run: run_pb2.Run, console: Console, *, json: bool
) -> run_pb2.Run:
    """Show a run until it has ended; Ctrl-C leaves it to itself and ends the command."""
    name = short_name(run.name)
    try:
        return follow(client.watch(run.name), console, json=json)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\n{name} goes on: linnet runs watch {name}, or linnet runs cancel {name}\n"
        )
        raise typer.Exit(CommandExit.INTERRUPTED) from None


def follow(
    responses: Iterable[training_service_pb2.WatchRunResponse], console: Console, *, json: bool
) -> run_pb2.Run:
    """Show a run until it has ended and give it as it then is."""
    if json:
        return _follow_json(responses)
    if console.is_terminal:
        with _BarView(console) as view:
            ended = _feed(responses, view)
    else:
        ended = _feed(responses, LineView(console))
    for warning in ended.warnings:
        console.print(f"[yellow]warning:[/] {_escaped(warning)}")
    if ended.HasField("failure"):
        show_failure(ended.failure, console)
    return ended


def show_failure(failure: run_pb2.Failure, console: Console) -> None:
    """Show why a run failed, and the last lines that it printed."""
    reason = run_pb2.FailureReason.Name(failure.reason).removeprefix("FAILURE_REASON_")
    console.print(f"[red]{reason}:[/] {_escaped(failure.message)}", soft_wrap=True)
    if failure.HasField("exit_code"):
        memory = ", killed for memory" if failure.out_of_memory else ""
        console.print(f"  exit code {failure.exit_code}{memory}")
    for line in failure.log_tail:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def epoch_line(epoch: run_pb2.Epoch, epochs: int) -> str:
    """Give an epoch's figures on one line."""
    fold = f"fold {epoch.fold}  " if epoch.fold else ""
    total = f"/{epochs}" if epochs else ""
    line = (
        f"{fold}epoch {epoch.number}{total}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.3f}"
    )
    if epoch.HasField("val_loss"):
        line += f"  val_loss {epoch.val_loss:.4f}  val_accuracy {epoch.val_accuracy:.3f}"
    return line


def _follow_json(responses: Iterable[training_service_pb2.WatchRunResponse]) -> run_pb2.Run:
    last = run_pb2.Run()
    for response in responses:
        if response.HasField("run"):
            last = response.run
        print_json(response)
    return last


def _feed(responses: Iterable[training_service_pb2.WatchRunResponse], view: _View) -> run_pb2.Run:
    last: run_pb2.Run | None = None
    for response in responses:
        if response.HasField("run"):
            last = response.run
            view.run_changed(last)
        for epoch in response.epochs:
            view.epoch_ended(epoch)
    if last is None:
        raise Internal("the stream of the run's changes told of no run")
    return last


class LineView:
    """One line a state and an epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs = 0
        self._state = ""
        self._waiting = ""

    def run_changed(self, run: run_pb2.Run) -> None:
        """Print a new state, and why the run waits."""
        self._epochs = run.progress.epochs or run.spec.fit.epochs
        state = state_word(run)
        if (state, run.waiting) != (self._state, self._waiting):
            self._state, self._waiting = state, run.waiting
            waiting = f": {run.waiting}" if run.waiting else ""
            text = f"{short_name(run.name)}  {state}{waiting}"
            self._console.print(text, markup=False, soft_wrap=True)

    def epoch_ended(self, epoch: run_pb2.Epoch) -> None:
        """Print its figures and the time that is left."""
        eta = f"  eta {epoch.eta_seconds:.0f} s" if epoch.eta_seconds else ""
        text = f"{epoch_line(epoch, self._epochs)}  {epoch.seconds:.2f} s{eta}"
        self._console.print(text, markup=False, soft_wrap=True)


class _EtaColumn(ProgressColumn):
    """The server's estimate of the seconds that are left."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        eta_s = task.fields.get("eta_s")
        return Text("" if eta_s is None else f"eta {eta_s:.0f} s", style="progress.remaining")


class _BarView:
    """A bar over the epochs with the latest figures."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[state]:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[figures]}"),
            _EtaColumn(),
            console=console,
        )
        self._task = self._progress.add_task(
            "", total=1, state="QUEUED", figures="", eta_s=None, start=True
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run_changed(self, run: run_pb2.Run) -> None:
        epochs = run.progress.epochs or run.spec.fit.epochs or 1
        self._progress.update(
            self._task,
            total=epochs,
            completed=min(run.progress.epoch, epochs),
            state=state_word(run),
        )
        if run.waiting:
            self._progress.update(self._task, figures=run.waiting)
        if run.HasField("end_time"):
            self._progress.update(self._task, eta_s=None)

    def epoch_ended(self, epoch: run_pb2.Epoch) -> None:
        figures = f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.3f}"
        if epoch.HasField("val_loss"):
            figures += f"  val {epoch.val_loss:.4f} / {epoch.val_accuracy:.3f}"
        self._progress.update(
            self._task, completed=epoch.number, figures=figures, eta_s=epoch.eta_seconds
        )


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
