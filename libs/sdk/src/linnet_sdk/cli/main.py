"""The root command: finds sub-commands lazily, shows errors as lines, ends with exit codes."""

import os
import sys
from typing import Any

import typer
from linnet_runtime.errors import LinnetError, Unavailable
from typer.core import TyperCommand, TyperGroup

from linnet_sdk.cli import registry
from linnet_sdk.cli.exit_codes import CommandExit, exit_code_of, lines_of


class _Lazy(TyperCommand):
    """Stands for a sub-command until it is called."""

    def __init__(self, offer: registry.Offer) -> None:
        super().__init__(name=offer.name, help=offer.help, add_help_option=False)
        self._offer = offer

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Import the real command and hand over to it."""
        return self._real().make_context(info_name, args, *rest, **extra)

    def _real(self) -> Any:
        try:
            found = self._offer.load()
        except Exception as error:
            raise Unavailable(
                f"`linnet {self._offer.name}` can't be loaded from "
                f"{self._offer.provider or 'linnet'}: {type(error).__name__}: {error}",
                reason="COMMAND_NOT_LOADABLE",
            ) from error
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(self._offer.name)(found)
            found = app
        command = typer.main.get_command(found)
        command.name = self._offer.name
        return command


class _Root(TyperGroup):
    """Knows the names of all sub-commands, and imports one when it is called."""

    def __init__(self, **extra: Any) -> None:
        super().__init__(**extra)
        self._offers = {offer.name: offer for offer in registry.own_offers()}
        for offer in registry.foreign_offers():
            self._offers.setdefault(offer.name, offer)

    def list_commands(self, ctx: Any) -> list[str]:
        """Give our own commands, then those of services."""
        del ctx
        return list(self._offers)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a stand-in that imports the command when it is called."""
        del ctx
        offer = self._offers.get(cmd_name)
        return None if offer is None else _Lazy(offer)


app = typer.Typer(
    name="linnet",
    cls=_Root,
    help="Train small Keras classifiers and see whether they fit a microcontroller.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Train small Keras classifiers and see whether they fit a microcontroller."""


def main() -> None:
    """Run the command line."""
    try:
        typer.main.get_command(app)(prog_name="linnet")
    except LinnetError as error:
        red, plain = ("\x1b[1;31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
        for line in lines_of(error):
            sys.stderr.write(f"{red}error: {line}{plain}\n")
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(CommandExit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CommandExit.OK)
