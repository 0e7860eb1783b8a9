"""A folder of images whose layers are kept once, and archives of what a node lacks of one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REFERENCE = "org.opencontainers.image.ref.name"
# What containerd reads the image's name from.
_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class OciLayout:
    """An OCI image layout below `folder`; buildah writes images into it."""

    folder: Path

    def reference(self, name: str) -> str:
        """Where buildah pushes the image `name` to."""
        return f"oci:{self.folder}:{name}"

    def archive(self, name: str, path: Path, present: Collection[str]) -> None:
        """Write an archive of the image without the blobs that its reader has.

        Args:
            name: Of the image.
            path: Of the archive.
            present: Digests of the reader's blobs.
        """
        entry = next(one for one in self._entries() if one["annotations"][_REFERENCE] == name)
        index = {
            "schemaVersion": 2,
            "manifests": [{**entry, "annotations": {_NAME: name}}],
        }
        with tarfile.open(path, mode="w") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(archive, "index.json", json.dumps(index).encode())
            for digest in self._blobs(entry):
                if digest not in present:
                    blob = self._blob(digest)
                    archive.add(blob, arcname=str(blob.relative_to(self.folder)))

    def forget_old(self) -> None:
        """Remove what no name leads to any more: a name that is pushed again leaves its image."""
        named = self._entries()
        index = json.loads(self._index.read_text())
        self._index.write_text(json.dumps({**index, "manifests": named}))
        used = {digest for entry in named for digest in self._blobs(entry)}
        for blob in (self.folder / "blobs").glob("*/*"):
            if f"{blob.parent.name}:{blob.name}" not in used:
                blob.unlink()

    @property
    def _index(self) -> Path:
        return self.folder / "index.json"

    def _entries(self) -> list[dict[str, Any]]:
        listed = json.loads(self._index.read_text())["manifests"]
        return [one for one in listed if _REFERENCE in one.get("annotations", {})]

    def _blobs(self, entry: dict[str, Any]) -> Iterator[str]:
        manifest = json.loads(self._blob(entry["digest"]).read_text())
        yield entry["digest"]
        yield manifest["config"]["digest"]
        yield from dict.fromkeys(layer["digest"] for layer in manifest["layers"])

    def _blob(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.folder / "blobs" / algorithm / value


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
