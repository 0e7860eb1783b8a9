"""Container images with no registry: written, built and imported on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from .places import Places
from .processes import Processes

# The namespace in which the CRI plugin looks for images.
_NAMESPACE = "k8s.io"
_IMPORT_TIMEOUT_S = 600.0


def ctr(places: Places) -> list[str | Path]:
    """The command prefix that talks to this testbed's containerd about Kubernetes' images."""
    return ["ctr", f"--address={places.containerd_socket}", f"--namespace={_NAMESPACE}"]


def import_archive(processes: Processes, places: Places, archive: Path) -> None:
    """Make the image of a docker or OCI archive known to the node.

    Raises:
        TestbedFault: containerd refused it.
    """
    command = [*ctr(places), "images", "import", archive]
    processes.run(command, timeout_s=_IMPORT_TIMEOUT_S)


def tag(processes: Processes, places: Places, name: str, other: str) -> None:
    """Give an image that the node has another name, which it takes from any image that has it."""
    processes.run([*ctr(places), "images", "tag", "--force", name, other])


def present(processes: Processes, places: Places) -> set[str]:
    """Names of the images that the node has."""
    return set(processes.run([*ctr(places), "images", "list", "--quiet"]).split())


def blobs(processes: Processes, places: Places) -> set[str]:
    """Digests of everything that the node keeps of its images."""
    return set(processes.run([*ctr(places), "content", "list", "--quiet"]).split())


def write_single_program_archive(
    archive: Path, program: Path, name: str, labels: Mapping[str, str] | None = None
) -> None:
    """Write a docker archive of an image that holds `program` alone and runs it as nobody."""
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": [f"/{program.name}"],
                "User": "65534:65534",
                "Labels": dict(labels or {}),
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": configuration_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    archive.write_bytes(
        _tar(
            {
                "layer.tar": (layer, 0o644),
                configuration_name: (configuration, 0o644),
                "manifest.json": (json.dumps(manifest).encode(), 0o644),
            }
        )
    )


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, (data, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()
