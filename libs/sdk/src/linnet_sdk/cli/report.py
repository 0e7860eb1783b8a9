"""`linnet report`."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Protocol

import typer
from linnet.v1 import evaluation_pb2, training_service_pb2
from linnet_runtime.errors import InvalidInput, NotAllowedInState, Unavailable
from rich.console import Console

from linnet_sdk.cli import options, report_tables, tables
from linnet_sdk.cli.following import show_failure
from linnet_sdk.cli.output import make_console, print_json
from linnet_sdk.client import Client

RENDERERS = "linnet.report_renderers"


class Renderer(Protocol):
    """What a service registers under `linnet.report_renderers`, named for the format it makes."""

    def __call__(
        self,
        report: training_service_pb2.Report,
        explorer: evaluation_pb2.Explorer | None = None,
    ) -> str:
        """Make a page of a report; it stands alone and asks the network for nothing."""
        ...


def report(
    run: Annotated[str, typer.Argument(help="The run's id or full name.")],
    *,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page to this file instead.")
    ] = None,
    server: options.Server = None,
    token: options.Token = None,
    home: options.HomeFolder = None,
    project: options.Project = "default",
    json: options.Json = False,
) -> None:
    """Show scores, confusion matrix and on-device figures of a run."""
    with options.connect(server, token, home, project) as client:
        found = client.report(run)
        explorer = read_explorer(client, found) if html is not None else None
    if html is not None:
        write_page(found, html, explorer)
    if json:
        print_json(found)
    elif html is not None:
        make_console().print(f"written to {html}", markup=False, soft_wrap=True)
    else:
        show_report(found, make_console())


def has_renderer() -> bool:
    """Say whether anything that is installed makes pages."""
    return any(point.name == "html" for point in entry_points(group=RENDERERS))


def read_explorer(
    client: Client, found: training_service_pb2.Report
) -> evaluation_pb2.Explorer | None:
    """Read the first page of a run's feature explorer; None where there is no evaluation."""
    if not found.HasField("evaluation"):
        return None
    return client.explorer(found.run.name).explorer


def write_page(
    found: training_service_pb2.Report,
    path: Path,
    explorer: evaluation_pb2.Explorer | None = None,
) -> None:
    """Write a report as a page, with a scatter of the feature explorer if it is given.

    Raises:
        InvalidInput: The file can't be written.
        NotAllowedInState: Nothing that is installed makes pages.
        Unavailable: What makes pages can't be loaded.
    """
    points = {point.name: point for point in entry_points(group=RENDERERS)}
    if "html" not in points:
        raise NotAllowedInState(
            "no renderer of HTML reports is installed: pip install linnet-evaluator",
            reason="NO_REPORT_RENDERER",
        )
    try:
        render: Renderer = points["html"].load()
    except Exception as error:
        raise Unavailable(
            f"the renderer of HTML reports can't be loaded: {type(error).__name__}: {error}",
            reason="REPORT_RENDERER_NOT_LOADABLE",
        ) from error
    page = render(found, explorer)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput.of("html", f"expected a file to write to: {error}") from error


def show_report(found: training_service_pb2.Report, console: Console) -> None:
    """Print a report's tables."""
    boxed = console.is_terminal
    console.print("\n".join(tables.run_lines(found.run)), soft_wrap=True)
    summary = found.run.summary
    if summary.epochs:
        console.print(
            f"trained  {summary.epochs} epochs in {summary.train_seconds:.1f} s, best epoch "
            f"{summary.best_epoch}, {summary.parameter_count} parameters"
        )
    if found.run.HasField("failure"):
        show_failure(found.run.failure, console)
    if found.HasField("evaluation"):
        _heading(console, "Scores")
        console.print(report_tables.scores(found.evaluation, boxed=boxed))
        for shown in report_tables.shown_sets(found.evaluation):
            _heading(console, report_tables.confusion_title(shown))
            console.print(
                report_tables.confusion(shown, list(found.evaluation.classes), boxed=boxed)
            )
        if found.evaluation.HasField("comparison"):
            versus = found.evaluation.comparison
            console.print(
                f"int8 against float32: {versus.agreement:.1%} of rows agree. {versus.reason}",
                markup=False,
                soft_wrap=True,
            )
    if found.profiles:
        _heading(console, f"On {report_tables.target_line(found.target)}")
        console.print(report_tables.device(found, boxed=boxed))
        for profile in found.profiles:
            word = report_tables.variant_word(profile.variant)
            for reason in profile.verdict.reasons:
                console.print(f"{word}: {reason}", markup=False, soft_wrap=True)


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]", soft_wrap=True)
