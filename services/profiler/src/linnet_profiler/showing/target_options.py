"""Which targets the options of `linnet profile` mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from linnet_runtime.errors import InvalidInput

from linnet_profiler.custom_targets import read_custom_target
from linnet_profiler.target_choice import adjusted, chosen_targets
from linnet_profiler.targets import Target, bare_core

_BARE_CLOCK_HZ: Final = 1_000_000
_MAX_FILE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """The options that say where a model runs.

    Attributes:
        target: Board id.
        target_file: JSON file of a board of the user's own.
        core: A core, bare or with memory.
        kernels: Kernel library.
        clock_hz: Clock in Hz.
        ram_bytes: RAM of a board of the user's own.
        flash_bytes: Its flash.
        every: All boards.
    """

    target: str | None
    target_file: Path | None
    core: str | None
    kernels: str | None
    clock_hz: int | None
    ram_bytes: int | None
    flash_bytes: int | None
    every: bool

    def targets(self) -> list[Target]:
        """The targets; every board where none is named.

        Raises:
            InvalidInput: The options contradict each other, or name what doesn't exist.
        """
        given = {
            "--target": self.target is not None,
            "--target-file": self.target_file is not None,
            "--core": self.core is not None,
            "--all-targets": self.every,
        }
        if sum(given.values()) > 1:
            raise InvalidInput.of(
                "target",
                f"expected one of {', '.join(given)}, received "
                f"{' and '.join(name for name, is_given in given.items() if is_given)}",
            )
        sized = self.ram_bytes is not None or self.flash_bytes is not None
        if sized and self.core is None:
            field = "ram_bytes" if self.ram_bytes is not None else "flash_bytes"
            raise InvalidInput.of(field, "expected --core with it: boards have sizes of their own")
        if self.target_file is not None:
            mine = read_custom_target(_board_file(self.target_file))
            return [adjusted(mine, self.kernels, self.clock_hz)]
        if self.core is None:
            ids = [] if self.target is None else [self.target]
            return chosen_targets(ids, self.kernels, self.clock_hz)
        if not sized:
            return [bare_core(self.core, self.kernels, self.clock_hz or _BARE_CLOCK_HZ)]
        numbers = {
            "core": self.core,
            "kernels": self.kernels,
            "clock_hz": self.clock_hz,
            "ram_bytes": self.ram_bytes,
            "flash_bytes": self.flash_bytes,
        }
        return [read_custom_target(numbers)]


def _board_file(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as opened:
            read = json.loads(opened.read(_MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput.of(
            "target_file", f"expected a JSON file of a board, {path}: {error}"
        ) from error
    if not isinstance(read, dict):
        raise InvalidInput.of(
            "target_file", f"expected a JSON object in {path}, received {type(read).__name__}"
        )
    return read
