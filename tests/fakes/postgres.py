"""A PostgreSQL server of the test's own, from Debian's binaries, where they are installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.free_ports import free_port

_VERSIONS = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """Give the folder of the newest server that is installed; None without one."""
    found = sorted(_VERSIONS.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


def _as_postgres(folder: Path, *command: str) -> None:
    # The server refuses to run as root.
    root = os.geteuid() == 0
    prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if root else []
    subprocess.run(
        [*prefix, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60
    )


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server on a free port and give SQLAlchemy's URL of an empty database."""
    tools = binaries()
    assert tools is not None
    # A folder of its own: pytest's are closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="linnet-postgres-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, control = folder / "data", str(tools / "pg_ctl")
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    try:
        _as_postgres(
            folder, str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", "linnet", "-N"
        )
        log = str(folder / "log")
        _as_postgres(folder, control, "-D", str(data), "-l", log, "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg://linnet@127.0.0.1:{port}/postgres"
        finally:
            _as_postgres(folder, control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
