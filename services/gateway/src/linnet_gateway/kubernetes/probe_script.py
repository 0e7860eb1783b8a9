"""What a trainer's pod can do and reach, seen from inside; prints one JSON object.

Runs in the trainer's image with the standard library alone: `python3 -c <this file>`. Reads what to
try from LINNET_PROBE as JSON: {"reach": {name: "host:port"}, "ask": {name: "host:port of a name
server"}, "resolve": "a host name"}.
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


def answered(address: str, name: str) -> bool:
    """Whether a name server at `host:port` answers a question over UDP, whatever it says."""
    host, _, port = address.rpartition(":")
    labels = b"".join(bytes([len(one)]) + one.encode("ascii") for one in name.split("."))
    # One question for an address, which the server is to look up.
    question = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00\x01\x00\x01"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(_WAIT_S)
            asking.connect((host.strip("[]"), int(port)))
            asking.send(question)
            return asking.recv(512)[:2] == question[:2]
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


def pids_limit() -> int:
    """Processes that the pod's control group allows, as far as it is seen in here; 0 for no limit.

    The kubelet's own limit is a level above, and seen where the pod sees the node's control groups.
    """
    limits = []
    for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        try:
            limits.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(limits, default=0)


def host_users() -> bool:
    """Whether users in here are the node's own, root included."""
    try:
        maps = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    except OSError:
        return True
    return maps[:2] == ["0", "0"]


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
        "answered": {
            name: answered(address, asked["resolve"]) for name, address in asked["ask"].items()
        },
        "resolves": resolved(asked["resolve"]),
        "user": os.getuid(),
        "root_writable": any(writable(path) for path in ("/", "/etc", "/usr", "/app", "/var/tmp")),  # noqa: S108
        "scratch_writable": writable("/tmp"),  # noqa: S108
        "api_token": Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists(),
        "no_new_privileges": status_field("NoNewPrivs") == "1",
        "capabilities": status_field("CapEff").strip("0"),
        "seccomp": status_field("Seccomp"),
        "landlock": landlock_abi(),
        "pids_limit": pids_limit(),
        "host_users": host_users(),
        "kernel": platform.release(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
