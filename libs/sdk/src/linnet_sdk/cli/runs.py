"""`linnet runs`: list, get, watch, logs, compare, cancel, download, reproduce, delete and more."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from linnet_sdk.cli import tables
from linnet_sdk.cli.following import follow_or_leave
from linnet_sdk.cli.insights import compare, profile, thresholds
from linnet_sdk.cli.output import as_dict, print_json
from linnet_sdk.cli.reproduce import reproduce
from linnet_sdk.cli.session import Session, connected
from linnet_sdk.cli.train import end_with
from linnet_sdk.names import short_name, state_word

app = typer.Typer(help="List, watch, compare, cancel and download runs.", no_args_is_help=True)

RunName = Annotated[str, typer.Argument(help="The run's id or full name.")]


@app.command("list")
@connected
def list_(
    session: Session,
    *,
    state: Annotated[str, typer.Option(help="Only runs in this state, such as TRAINING.")] = "",
    batch: Annotated[str, typer.Option(help="Only runs of this batch.")] = "",
    dataset: Annotated[str, typer.Option(help="Only runs on this dataset.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(help="Only runs with this label, KEY=VALUE; repeatable.")
    ] = None,
    filter_text: Annotated[
        str, typer.Option("--filter", help="Terms joined by AND, such as 'batch = \"b1\"'.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Most runs to show.", min=1)] = 50,
) -> None:
    """List runs, newest first."""
    terms = [filter_text] if filter_text else []
    named = {"state": state.upper(), "batch": batch, "dataset": dataset}
    for pair in label or ():
        key, _, value = pair.partition("=")
        named[f"labels.{key}"] = value
    terms += [f"{field} = {_quoted(value)}" for field, value in named.items() if value]
    found = list(islice(session.client.list_runs(filter_text=" AND ".join(terms)), limit))
    session.show(
        {"runs": [as_dict(run) for run in found]},
        lambda: tables.runs(found, boxed=session.console.is_terminal),
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@app.command()
@connected
def get(session: Session, run: RunName) -> None:
    """Show a run."""
    found = session.client.get_run(run)
    session.show(found, lambda: "\n".join(tables.run_lines(found)))


@app.command()
@connected
def watch(session: Session, run: RunName) -> None:
    """Follow a run's epochs until it has ended."""
    found = session.client.get_run(run)
    end_with(follow_or_leave(session.client, found, session.console, json=session.json))


@app.command()
@connected
def logs(
    session: Session,
    run: RunName,
    *,
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the run has ended.")
    ] = False,
) -> None:
    """Print a run's output."""
    for entry in session.client.logs(run, follow=follow_on):
        if session.json:
            print_json(entry)
        elif entry.text:
            session.console.print(entry.text, markup=False, soft_wrap=True)


@app.command()
@connected
def cancel(session: Session, run: RunName) -> None:
    """Cancel a run that has not ended."""
    found = session.client.cancel_run(run)
    session.show(
        found, lambda: f"{short_name(found.name)} {state_word(found)}: cancelling is asked for"
    )


@app.command()
@connected
def download(
    session: Session,
    run: RunName,
    artifacts: Annotated[
        list[str] | None, typer.Argument(help="Names such as model.int8.tflite; else all.")
    ] = None,
    *,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
) -> None:
    """Download artifacts of a run."""
    written: dict[str, str] = {}
    names = artifacts or [file.name for file in session.client.get_run(run).artifacts]
    # Of a run that has none the gateway says why.
    names = names or ["manifest.json"]
    for name in names:
        path = session.client.download(run, name, to / Path(name).name)
        written[name] = str(path)
        if not session.json:
            session.console.print(f"{name}  {path}", markup=False, soft_wrap=True)
    if session.json:
        print_json({"artifacts": written})


app.command()(reproduce)
app.command()(compare)
app.command()(thresholds)
app.command()(profile)


@app.command()
@connected
def delete(session: Session, run: RunName) -> None:
    """Delete a run that has ended, with its artifacts."""
    session.client.delete_run(run)
    session.show({"deleted": run}, lambda: f"deleted {short_name(run)}")
