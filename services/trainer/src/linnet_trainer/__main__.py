"""`linnet-trainer fit`, `linnet-trainer reproduce` and `linnet-trainer run`."""

import sys

import typer
from linnet_runtime.errors import LinnetError
from linnet_runtime.lifecycle import ExitCode

from linnet_trainer.local.cli import fit, reproduce


def main() -> None:
    """Run the command line and end the process with one of `ExitCode`."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.command()(fit)
    app.command()(reproduce)
    app.command()(run)
    try:
        app()
    except LinnetError as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        sys.exit(ExitCode.USAGE)


def run() -> None:
    """Train the runs of one shard for a gateway; settings come from LINNET_TRAINER_* variables."""
    from linnet_trainer.shard_process import run_shard

    raise typer.Exit(run_shard())


if __name__ == "__main__":
    main()
