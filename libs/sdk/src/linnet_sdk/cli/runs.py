"""`linnet runs`: list, get, watch, logs, cancel, download, delete."""

from pathlib import Path
from typing import Annotated

import typer
from linnet.v1 import run_pb2

from linnet_sdk.cli import options, tables
from linnet_sdk.cli.following import follow_or_leave
from linnet_sdk.cli.output import as_dict, make_console, print_json
from linnet_sdk.cli.train import end_with
from linnet_sdk.names import short_name, state_word

app = typer.Typer(help="List, watch, cancel and download runs.", no_args_is_help=True)

RunName = Annotated[str, typer.Argument(help="The run's id or full name.")]


@app.command("list")
def list_(
    *,
    state: Annotated[str, typer.Option(help="Only runs in this state, such as TRAINING.")] = "",
    filter_text: Annotated[
        str, typer.Option("--filter", help="Terms joined by AND, such as 'batch = \"b1\"'.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Most runs to show.", min=1)] = 50,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """List runs, newest first."""
    if state:
        term = f'state = "{state.upper()}"'
        filter_text = f"{filter_text} AND {term}" if filter_text else term
    found: list[run_pb2.Run] = []
    with options.connect(server, token, home, project) as client:
        for run in client.list_runs(filter_text=filter_text):
            found.append(run)
            if len(found) >= limit:
                break
    if json:
        print_json({"runs": [as_dict(run) for run in found]})
    else:
        console = make_console()
        console.print(tables.runs(found, boxed=console.is_terminal))


@app.command()
def get(
    run: RunName,
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Show a run."""
    with options.connect(server, token, home, project) as client:
        found = client.get_run(run)
    if json:
        print_json(found)
    else:
        make_console().print("\n".join(tables.run_lines(found)), soft_wrap=True)


@app.command()
def watch(
    run: RunName,
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Follow a run's epochs until it has ended."""
    with options.connect(server, token, home, project) as client:
        ended = follow_or_leave(client, client.get_run(run), make_console(), json=json)
    end_with(ended)


@app.command()
def logs(
    run: RunName,
    *,
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the run has ended.")
    ] = False,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Print a run's output."""
    console = make_console()
    with options.connect(server, token, home, project) as client:
        for entry in client.logs(run, follow=follow_on):
            if json:
                print_json(entry)
            elif entry.text:
                console.print(entry.text, markup=False, soft_wrap=True)


@app.command()
def cancel(
    run: RunName,
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Cancel a run that has not ended."""
    with options.connect(server, token, home, project) as client:
        found = client.cancel_run(run)
    if json:
        print_json(found)
    else:
        make_console().print(
            f"{short_name(found.name)} {state_word(found)}: cancelling is asked for"
        )


@app.command()
def download(
    run: RunName,
    artifacts: Annotated[
        list[str] | None, typer.Argument(help="Names such as model.int8.tflite; else all.")
    ] = None,
    *,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Download artifacts of a run."""
    written: dict[str, str] = {}
    with options.connect(server, token, home, project) as client:
        names = artifacts or [file.name for file in client.get_run(run).artifacts]
        for name in names:
            path = client.download(run, name, to / Path(name).name)
            written[name] = str(path)
            if not json:
                make_console().print(f"{name}  {path}", markup=False, soft_wrap=True)
    if json:
        print_json({"artifacts": written})


@app.command()
def delete(
    run: RunName,
    *,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Delete a run that has ended, with its artifacts."""
    with options.connect(server, token, home, project) as client:
        client.delete_run(run)
    if json:
        print_json({"deleted": run})
    else:
        make_console().print(f"deleted {short_name(run)}")
