"""A real PostgreSQL in the testbed's network, on the node's address, so that pods reach it."""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import network, requirements
from .cluster import Cluster
from .faults import TestbedFault
from .places import NODE_ADDRESS

_PROCESS = "postgres"
_PORT = 5432
_USER = "linnet"
_VERSIONS = Path("/usr/lib/postgresql")
_START_TIMEOUT_S = 60.0


@contextmanager
def started(cluster: Cluster) -> Iterator[str]:
    """A server that runs within the context, with a password of its own.

    Yields:
        SQLAlchemy's URL of an empty database.

    Raises:
        TestbedFault: The testbed is not running, or the server did not start.
    """
    tools = _tools()
    password = secrets.token_hex(16)
    data = _make_data(tools, cluster.places.state / "postgres" / secrets.token_hex(4), password)
    command: list[str | Path] = [*_as_owner(), tools / "postgres", "-D", data]
    for setting in (
        f"listen_addresses={NODE_ADDRESS}",
        f"port={_PORT}",
        "unix_socket_directories=",
        "fsync=off",
    ):
        command += ["-c", setting]
    cluster.processes.start(_PROCESS, command)
    ask = [str(tools / "pg_isready"), "--quiet", f"--host={NODE_ADDRESS}", f"--port={_PORT}"]

    def ready() -> bool:
        return subprocess.run(ask, check=False).returncode == 0

    try:
        with network.entered(cluster.holder()):
            cluster.processes.await_ready(_PROCESS, ready, _START_TIMEOUT_S)
        yield f"postgresql+psycopg://{_USER}:{password}@{NODE_ADDRESS}:{_PORT}/postgres"
    finally:
        cluster.processes.stop(_PROCESS)


def _tools() -> Path:
    if not _found():
        requirements.install({str(_VERSIONS): "postgresql"})
    if not _found():
        raise TestbedFault(f"no PostgreSQL server below {_VERSIONS}")
    return _found()[-1].parent


def _found() -> list[Path]:
    return sorted(_VERSIONS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))


def _as_owner() -> list[str]:
    # The server refuses to run as root.
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _make_data(tools: Path, folder: Path, password: str) -> Path:
    folder.mkdir(parents=True)
    owner = pwd.getpwnam("postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    secret = folder / "password"
    secret.write_text(password)
    os.chown(secret, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    words = ["--no-sync", "--auth=scram-sha-256", f"--username={_USER}", f"--pwfile={secret}"]
    done = subprocess.run(
        [*_as_owner(), tools / "initdb", f"--pgdata={data}", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    secret.unlink()
    if done.returncode:
        raise TestbedFault(f"initdb failed: {done.stderr.strip()[-500:]}")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
    return data
