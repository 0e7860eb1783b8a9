"""Static tokens from a file, which is read again when it changes."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from linnet_runtime import logs
from linnet_runtime.errors import InvalidInput

from linnet_gateway.api.access import Principal, Role
from linnet_gateway.api.identity import StaticTokens

_LOOK_S = 1.0
"""Time between two looks at whether the file is another one."""

_Mark = tuple[int, int, int]


class TokensFile:
    """Tokens that are withdrawn or added by writing a file."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Args:
            path: A JSON list of `{"subject", "sha256", "roles"}`.
            monotonic: Gives seconds that never go back.

        Raises:
            InvalidInput: The file can't be used.
        """
        self._path = path
        self._monotonic = monotonic
        self._log = logs.get("linnet.identity")
        self._tokens = StaticTokens(_read(path))
        self._mark = _mark(path)
        self._looked_at = monotonic()

    async def identify(self, token: str) -> Principal | None:
        """Say who presents a token."""
        self._follow()
        return await self._tokens.identify(token)

    def _follow(self) -> None:
        if self._monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = self._monotonic()
        try:
            mark = _mark(self._path)
            if mark == self._mark:
                return
            self._tokens = StaticTokens(_read(self._path))
        except (OSError, InvalidInput) as error:
            # What was known holds: a file that is being written must not lock everybody out.
            self._log.error("tokens_file_unusable", error=str(error))
        else:
            self._mark = mark
            self._log.info("tokens_file_read")


def _mark(path: Path) -> _Mark:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> dict[str, Principal]:
    try:
        entries = json.loads(path.read_text())
        principals = {
            str(entry["sha256"]): Principal(
                str(entry["subject"]),
                {str(p): Role[str(r).upper()] for p, r in entry["roles"].items()},
            )
            for entry in entries
        }
        StaticTokens(principals)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput.of(
            "LINNET_GATEWAY_TOKENS_FILE",
            f'expected a list of {{"subject", "sha256", "roles"}}: {type(error).__name__}',
        ) from error
    return principals
