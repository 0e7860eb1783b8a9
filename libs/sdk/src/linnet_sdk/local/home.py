"""The folder that holds all state of a local mode: its files, ports, credentials, and its lock."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from linnet_runtime.errors import InvalidInput, Unavailable

from linnet_sdk.local.identity import ProcessIdentity, identify
from linnet_sdk.server_address import ENDPOINT_FILE


@dataclass(frozen=True, slots=True)
class Credentials:
    """Random secrets of one home; made once, readable by its owner only."""

    api_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    service_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    store_access_key: str = field(default_factory=lambda: secrets.token_hex(10), repr=False)
    store_secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    store_write_key: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)
    store_read_key: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)


class HomeIsHeld(Unavailable):
    """Another local mode runs on this home."""

    default_reason = "HOME_IS_HELD"


def default_home(environ: Mapping[str, str]) -> Path:
    """Give LINNET_HOME, or the user's data folder."""
    named = environ.get("LINNET_HOME")
    return Path(named) if named else Path(platformdirs.user_data_dir("linnet", appauthor=False))


class Home:
    """The files of one home.

    Args:
        path: The folder; made, readable by its owner only, when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise InvalidInput.of("home", f"expected a folder to write to: {error}") from error

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.path / "logs"

    @property
    def store(self) -> Path:
        """The object store's folder."""
        return self.path / "store"

    @property
    def gateway(self) -> Path:
        """The gateway's folder: records and launches."""
        return self.path / "gateway"

    @property
    def launches(self) -> Path:
        """Where the gateway keeps its trainers' folders."""
        return self.gateway / "launches"

    @property
    def endpoint(self) -> Path:
        """Where the running gateway is; exists while it runs."""
        return self.path / ENDPOINT_FILE

    def log_of(self, name: str) -> Path:
        """Where a process prints to."""
        return self.logs / f"{name}.log"

    def credentials(self) -> Credentials:
        """Read the secrets, or make them."""
        path = self.path / "credentials.json"
        known = {f.name for f in fields(Credentials)}
        kept = {k: str(v) for k, v in _read_json(path).items() if k in known}
        credentials = Credentials(**kept)
        if kept.keys() != known:
            write_json(path, asdict(credentials))
        return credentials

    def kept_ports(self) -> dict[str, int]:
        """Read the ports that were used last."""
        return {str(name): int(port) for name, port in _read_json(self.path / "ports.json").items()}

    def keep_ports(self, ports: Mapping[str, int]) -> None:
        """Write the ports that are used now."""
        write_json(self.path / "ports.json", ports)

    def recorded_processes(self) -> list[ProcessIdentity]:
        """Read which processes were started last."""
        found = _read_json(self.path / "processes.json").get("processes", [])
        return [ProcessIdentity(**entry) for entry in found]

    def record_processes(self, processes: list[ProcessIdentity]) -> None:
        """Write which processes run now, so that a later start finds them."""
        write_json(self.path / "processes.json", {"processes": [asdict(p) for p in processes]})

    def holder(self) -> str:
        """Say who holds the home, for people."""
        found = _read_json(self.path / "lock")
        return f"pid {found.get('pid', 'unknown')} since {found.get('since', 'an unknown time')}"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the home: one local mode at a time; the kernel lets go when the holder dies.

        Raises:
            HomeIsHeld: Somebody does; says who.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeIsHeld(
                    f"{self.path} is held by another `linnet up` ({self.holder()}); "
                    "stop that one, or name another folder with --home",
                    metadata={"home": str(self.path)},
                ) from error
            me = identify(os.getpid(), "linnet up")
            text = json.dumps(
                {
                    "pid": os.getpid(),
                    "start_ticks": me.start_ticks if me else 0,
                    "since": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput.of(
            str(path), f"expected JSON: {error}; delete it to begin anew"
        ) from error
    return found if isinstance(found, dict) else {}
