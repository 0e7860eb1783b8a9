"""What a trainer's pod can do and reach, seen from inside; prints one JSON object.

Runs in the trainer's image with the standard library alone: `python3 -c <this file>`. Reads what to
try from LINNET_PROBE as JSON: {"reach": {name: "host:port"}, "resolve": "a host name"}.
"""

import ctypes
import json
import os
import platform
import socket
import sys
from pathlib import Path

_WAIT_S = 3.0
# landlock_create_ruleset, of one number on every platform; the flag asks for the version alone.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_VERSION = 1


def reached(address: str) -> bool:
    """Whether a TCP connection to `host:port` comes about."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_WAIT_S):
            return True
    except OSError:
        return False


def resolved(name: str) -> bool:
    """Whether a name service answers."""
    try:
        socket.getaddrinfo(name, 443)
    except OSError:
        return False
    return True


def writable(path: str) -> bool:
    """Whether a file can be made in a folder."""
    try:
        probe = Path(path, ".linnet-probe")
        probe.write_text("x", encoding="ascii")
        probe.unlink()
    except OSError:
        return False
    return True


def status_field(name: str) -> str:
    """Read a field of /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def landlock_abi() -> int:
    """Version of Landlock that a process in here can use; 0 where it can't."""
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    abi = syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET),
        ctypes.c_void_p(None),
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_VERSION),
    )
    return max(0, int(abi))


def main() -> None:
    """Try everything and print what came of it."""
    asked = json.loads(os.environ["LINNET_PROBE"])
    found = {
        "reach": {name: reached(address) for name, address in asked["reach"].items()},
        "resolves": resolved(asked["resolve"]),
        "user": os.getuid(),
        "root_writable": any(writable(path) for path in ("/", "/etc", "/usr", "/app", "/var/tmp")),  # noqa: S108
        "scratch_writable": writable("/tmp"),  # noqa: S108
        "api_token": Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists(),
        "no_new_privileges": status_field("NoNewPrivs") == "1",
        "capabilities": status_field("CapEff").strip("0"),
        "seccomp": status_field("Seccomp"),
        "landlock": landlock_abi(),
        "kernel": platform.release(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
