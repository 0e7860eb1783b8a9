"""What the machine must have, and the Debian packages that are installed where missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .controlgroup import ControlGroup
from .faults import TestbedFault, Unsupported
from .network import outside

# A program that only the package has, and the package.
_NODE_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
IMAGE_PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_OLDEST_GO = (1, 25)
_GO_VERSION = re.compile(r"go(\d+)\.(\d+)[.\w]*")
# What a start does first, in namespaces that end with it.
_PROBE = (
    "mount -t tmpfs tmpfs /run && ip link set lo up && ip link add probe0 type bridge && "
    "iptables --table nat --list-rules"
)
PROMETHEUS_PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus"}


def check() -> None:
    """Make sure that the testbed can run here, installing Debian packages that are missing.

    Raises:
        Unsupported: It can't; the message is one line.
    """
    missing = []
    if sys.platform != "linux":
        missing.append("Linux")
    elif os.geteuid() != 0:
        missing.append("root")
    missing += _older_go()
    lacking = _lacking(_NODE_PACKAGES)
    if lacking and not shutil.which("apt-get"):
        missing.append("apt-get, or " + ", ".join(lacking))
    if not missing:
        try:
            install(_NODE_PACKAGES)
        except TestbedFault as fault:
            missing.append(f"Debian packages ({_last_line(str(fault))})")
        else:
            missing += _forbidden()
    if missing:
        raise Unsupported(
            f"can't run here, missing: {'; '.join(missing)}. "
            "Set KUBECONFIG to use a cluster that you have."
        )


def _older_go() -> list[str]:
    """Name the Go that is needed, if there is none or an older one, as in Debian 12."""
    wanted = f"Go {'.'.join(map(str, _OLDEST_GO))} or newer on PATH"
    if not shutil.which("go"):
        return [wanted]
    # From a folder that is no module: one that asks for a newer Go would have it fetched.
    done = subprocess.run(
        ["go", "env", "GOVERSION"], cwd="/", capture_output=True, text=True, check=False
    )
    version = _GO_VERSION.search(done.stdout)
    if version is None:
        return [f"{wanted} ({_last_line(done.stderr or done.stdout)})"]
    if tuple(map(int, version.groups())) < _OLDEST_GO:
        return [f"{wanted}, not {version[0]}"]
    return []


def _forbidden() -> list[str]:
    """Name what root itself may not do here, as in a container without privileges."""
    found = []
    unshare = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _PROBE]
    done = subprocess.run(unshare, capture_output=True, text=True, check=False)
    if done.returncode:
        found.append(f"permission for namespaces, mounts and links ({_last_line(done.stderr)})")
    try:
        group = ControlGroup.of(f"linnet-probe-{os.getpid()}")
        group.create()
        group.remove()
    except (OSError, StopIteration) as error:
        found.append(f"a control group of its own ({error or 'no hierarchy'})")
    return found


def _last_line(text: str) -> str:
    return (text.strip() or "it says nothing").splitlines()[-1][-200:]


def install(packages: dict[str, str]) -> None:
    """Install the Debian packages whose programs are missing.

    Args:
        packages: Program name, or path of a file, to package name.

    Raises:
        TestbedFault: apt-get failed.
    """
    lacking = _lacking(packages)
    if not lacking:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking],
    ):
        done = subprocess.run(
            [*outside(), *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TestbedFault(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _lacking(packages: dict[str, str]) -> list[str]:
    return sorted({package for program, package in packages.items() if not _present(program)})


def _present(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
