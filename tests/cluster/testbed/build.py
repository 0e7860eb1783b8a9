"""Programs built from pinned Go modules, cached by the content that goes into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .faults import TestbedFault
from .network import outside

MODULES = Path(__file__).with_name("modules")
KUBERNETES_VERSION = "v1.34.4"
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)


@dataclass(frozen=True, slots=True)
class GoProgram:
    """One module of the folder modules.

    Attributes:
        name: The module's folder and the program's name.
        target: What `go build` is given: the module's own main, or its `tool` directive.
        definitions: Variables set at link time.
        links: Names under which the program is called too.
    """

    name: str
    target: str = "tool"
    definitions: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """Flags of `go build`."""
        link = " ".join(["-s", "-w", *(f"-X {definition}" for definition in self.definitions)])
        return ["-buildvcs=false", "-trimpath", "-ldflags", link]

    def digest(self, go_version: str) -> str:
        """What the program is made of, as 24 hexadecimal digits."""
        content = hashlib.sha256(repr((go_version, self)).encode())
        for source in sorted((MODULES / self.name).iterdir()):
            content.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
        return content.hexdigest()[:24]


KUBERNETES = GoProgram(
    "kubernetes",
    target=".",
    # Without it the node reports a version that no client can parse.
    definitions=(f"k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",),
    links=COMPONENTS,
)
PAUSE = GoProgram("pause", target=".")
COREDNS = GoProgram("coredns")
HELM = GoProgram("helm")
KWOK = GoProgram("kwok")
MINIO = GoProgram("minio")
PROGRAMS = (KUBERNETES, PAUSE, COREDNS, HELM, MINIO, KWOK)


def folder(program: GoProgram, cache: Path) -> Path:
    """The folder that holds `program` and its links, built if this content was not built before.

    Raises:
        TestbedFault: The build failed.
    """
    place = cache / program.digest(_go_version())
    if (place / program.name).exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    with locked(place / ".lock"):
        if not (place / program.name).exists():
            _build(program, place)
    return place


def executable(program: GoProgram, cache: Path) -> Path:
    """The built program."""
    return folder(program, cache) / program.name


def _build(program: GoProgram, place: Path) -> None:
    unfinished = place / f".{program.name}"
    command = [*outside(), "go", "build", *program.flags, "-o", str(unfinished), program.target]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    done = subprocess.run(
        command,
        cwd=MODULES / program.name,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TestbedFault(f"building {program.name} failed: {done.stderr.strip()[-1500:]}")
    for link in program.links:
        (place / link).unlink(missing_ok=True)
        (place / link).symlink_to(program.name)
    unfinished.rename(place / program.name)


def _go_version() -> str:
    done = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedFault(f"go env failed: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the context no other process is in one for the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
