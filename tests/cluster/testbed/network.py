"""The network inside the testbed's namespace, and how a process of the tests enters it."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .faults import TestbedFault
from .places import NODE_ADDRESS, NODE_GATEWAY, NODE_NETWORK_BITS
from .processes import Processes

# Path of the machine's own network namespace, for those that were moved into the testbed's.
OUTSIDE_VARIABLE = "LINNET_TESTBED_OUTSIDE"

_CLONE_NEWNET = 0x40000000
_NODE_LINK = "node0"


def configure(processes: Processes) -> None:
    """Give the empty namespace a loopback, the node's address and a default route.

    The node's link is a bridge with no port: every kernel has bridges, and it needs no other end.
    """
    commands = [
        "ip link set lo up",
        f"ip link add {_NODE_LINK} type bridge",
        f"ip address add {NODE_ADDRESS}/{NODE_NETWORK_BITS} dev {_NODE_LINK}",
        f"ip link set {_NODE_LINK} up",
        f"ip route add default via {NODE_GATEWAY} dev {_NODE_LINK}",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ]
    processes.run(["sh", "-c", " && ".join(commands)])


def write_pod_network(folder: Path, pod_cidr: str) -> None:
    """Write the CNI configuration: a bridge with an address of `pod_cidr` a pod, and host ports."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "cniVersion": "0.4.0",
        "name": "linnet",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(folder / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (folder / "10-linnet.conflist").write_text(json.dumps(configuration, indent=2))


@contextmanager
def entered(holder: int) -> Iterator[None]:
    """The calling thread, and threads that it starts, are in the network of process `holder`.

    Raises:
        TestbedFault: The kernel refused.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    was_outside = OUTSIDE_VARIABLE not in os.environ
    os.environ.setdefault(OUTSIDE_VARIABLE, f"/proc/{os.getpid()}/fd/{before}")
    try:
        inside = os.open(f"/proc/{holder}/ns/net", os.O_RDONLY)
        try:
            _set_namespace(inside)
        finally:
            os.close(inside)
        try:
            yield
        finally:
            _set_namespace(before)
    finally:
        if was_outside:
            os.environ.pop(OUTSIDE_VARIABLE)
        os.close(before)


def outside() -> list[str]:
    """Prefix of a command that needs the machine's own network, wherever the calling thread is."""
    path = os.environ.get(OUTSIDE_VARIABLE)
    return ["nsenter", f"--net={path}"] if path else []


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise TestbedFault(f"can't enter the network namespace: {os.strerror(ctypes.get_errno())}")
