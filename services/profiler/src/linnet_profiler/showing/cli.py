"""The commands `linnet profile` and `linnet targets`; they need no server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from linnet_runtime.errors import InvalidInput
from rich.console import Console

from linnet_profiler.analysis import Analysis
from linnet_profiler.ethos_u import Offload, known_accelerator, offload
from linnet_profiler.interpreter.check import InterpreterCheck, check_on_interpreter
from linnet_profiler.profile import Budgets, Profile
from linnet_profiler.showing.render import (
    interpreter_line,
    offload_line,
    render_comparison,
    render_profile,
    render_targets,
)
from linnet_profiler.showing.report import offload_report, report_pieces, target_report
from linnet_profiler.showing.target_options import TargetOptions
from linnet_profiler.targets import targets as known_targets
from linnet_profiler.tflite.parser import MAX_MODEL_BYTES


def profile(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".tflite files; - is standard input.")
    ],
    *,
    target: Annotated[
        str | None,
        typer.Option(help="Board id; every board where neither this nor --core is given."),
    ] = None,
    all_targets: Annotated[
        bool, typer.Option("--all-targets", help="Every board, as without --target and --core.")
    ] = False,
    core: Annotated[
        str | None,
        typer.Option(
            help="A core such as cortex-m4f: bare, at 1 MHz unless told, or with --clock-hz, "
            "--ram-bytes and --flash-bytes a board of your own."
        ),
    ] = None,
    ram_bytes: Annotated[
        int | None, typer.Option(help="RAM of a board of your own, with --core.")
    ] = None,
    flash_bytes: Annotated[
        int | None, typer.Option(help="Flash of a board of your own, with --core.")
    ] = None,
    target_file: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of a board of your own: core, clock_hz, ram_bytes, flash_bytes, and "
            "where wanted name, kernels, memory."
        ),
    ] = None,
    kernels: Annotated[
        str | None, typer.Option(help="Kernel library: cmsis-nn, esp-nn or reference.")
    ] = None,
    clock_hz: Annotated[int | None, typer.Option(min=1, help="Clock in Hz.")] = None,
    max_ram_bytes: Annotated[int | None, typer.Option(min=1, help="RAM budget.")] = None,
    max_flash_bytes: Annotated[int | None, typer.Option(min=1, help="Flash budget.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0, help="Latency budget.")] = None,
    ethos_u: Annotated[
        str | None,
        typer.Option(help="Also compile for this accelerator, such as ethos-u55-128 (needs Vela)."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also run on the real interpreter and compare arenas.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each file, in order.")
    ] = False,
) -> None:
    """Say what models need on a microcontroller: RAM, flash and time."""
    if max_latency_ms is not None and not isfinite(max_latency_ms):
        raise typer.BadParameter("expected a finite number", param_hint="--max-latency-ms")
    budgets = Budgets(max_ram_bytes, max_flash_bytes, max_latency_ms)
    options = TargetOptions(
        target, target_file, core, kernels, clock_hz, ram_bytes, flash_bytes, every=all_targets
    )
    try:
        chosen = options.targets()
        if ethos_u is not None:
            known_accelerator(ethos_u)
    except InvalidInput as error:
        typer.echo(f"linnet profile: {error.message}", err=True)
        raise typer.Exit(2) from error
    console = Console()
    failed = False
    for file in files:
        try:
            data = _read(file)
            analysis = Analysis.of(data)
            found = [analysis.profile(one, budgets) for one in chosen]
            offloaded = None if ethos_u is None else offload(data, ethos_u)
            checked = check_on_interpreter(data) if check else None
        except (InvalidInput, OSError) as error:
            failed = True
            _complain(file, error, as_json=as_json)
            continue
        if as_json:
            extra = {} if offloaded is None else {"ethos_u": offload_report(offloaded)}
            extra |= {} if checked is None else {"interpreter": asdict(checked)}
            for piece in report_pieces(found, str(file), extra):
                typer.echo(piece, nl=False)
            continue
        _print(console, found, str(file), offloaded, checked)
    if failed:
        raise typer.Exit(1)


def targets(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each target.")
    ] = False,
) -> None:
    """List the boards that models are profiled for."""
    found = list(known_targets().values())
    if as_json:
        for target in found:
            typer.echo(json.dumps(target_report(target)))
        return
    render_targets(Console(), found)


def _print(
    console: Console,
    found: list[Profile],
    file: str,
    offloaded: Offload | None,
    checked: InterpreterCheck | None,
) -> None:
    if len(found) == 1:
        render_profile(console, found[0], file)
    else:
        render_comparison(console, found, file)
    if offloaded is not None:
        console.print(offload_line(offloaded))
    if checked is not None:
        line = interpreter_line(checked)
        if not console.is_terminal:
            said = " ".join(f"{name}={value}" for name, value in asdict(checked).items())
            line = f"interpreter {said}"
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _read(file: Path) -> bytes:
    # One byte more than a model may have is enough for the parser to refuse it.
    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_MODEL_BYTES + 1)
    with file.open("rb") as opened:
        return opened.read(MAX_MODEL_BYTES + 1)


def _complain(file: Path, error: InvalidInput | OSError, *, as_json: bool) -> None:
    reason = error.reason if isinstance(error, InvalidInput) else "FILE_UNREADABLE"
    message = error.message if isinstance(error, InvalidInput) else f"file: {error.strerror}"
    if as_json:
        typer.echo(json.dumps({"file": str(file), "error": {"reason": reason, "message": message}}))
    else:
        sys.stderr.write(f"linnet profile: {file}: {message}\n")
