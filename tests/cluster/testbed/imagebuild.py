"""Images built on this machine with buildah, on a base that is made from Debian packages."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import requirements
from .faults import TestbedFault
from .network import outside
from .ocilayout import OciLayout

_SUITE = "bookworm"
_SOURCES = (
    Path("/etc/apt/sources.list.d/debian.sources"),
    Path("/etc/apt/sources.list"),
)
_PACKAGES = ("python3", "ca-certificates")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
BASE_IMAGE = "localhost/linnet-base"
BUILD_BASE_IMAGE = "localhost/linnet-build-base"


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds into an image store of its own below the cache folder."""

    cache: Path

    def base(self) -> str:
        """Name of the base image: Debian 12 with its Python 3.11, made once a set of packages.

        Raises:
            TestbedFault: Making it failed.
        """
        sources = next((path for path in _SOURCES if path.exists()), None)
        if sources is None:
            raise TestbedFault(
                f"no Debian sources file, looked for {_SOURCES[0]} and {_SOURCES[1]}"
            )
        recipe = repr((_SUITE, _PACKAGES, _LEFT_OUT, sources.read_text()))
        name = f"{BASE_IMAGE}:{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
        if not self.has(name):
            self._make_base(name, sources)
        return name

    def build_base(self, uv: Path) -> str:
        """Name of the image that builds are made in: the base with the program `uv`."""
        base = self.base()
        digest = hashlib.sha256(base.encode() + uv.read_bytes()).hexdigest()[:16]
        name = f"{BUILD_BASE_IMAGE}:{digest}"
        if not self.has(name):
            recipe = self.cache / "build-base.Dockerfile"
            recipe.write_text(f"FROM {base}\nCOPY {uv.name} /usr/local/bin/uv\n")
            self.build(recipe, uv.parent, name)
        return name

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        arguments: Mapping[str, str] | None = None,
        volumes: Sequence[str] = (),
        keep_layers: bool = True,
    ) -> None:
        """Build `dockerfile` and name the result.

        Args:
            dockerfile: The recipe.
            context: The folder that it copies from.
            name: Name of the image.
            arguments: Its ARGs.
            keep_layers: Whether layers of earlier builds are used again.
            volumes: Folders of this machine that its RUN steps see, as `source:target:options`.

        Raises:
            TestbedFault: The build failed; the message has its last lines.
        """
        words = ["build", "--isolation=chroot", "--layers", "--pull-never", f"--tag={name}"]
        words += [] if keep_layers else ["--no-cache"]
        words += [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
        words += [f"--volume={volume}" for volume in volumes]
        self._buildah(*words, f"--file={dockerfile}", str(context))

    def prune(self, limit_bytes: int) -> None:
        """Forget layers that no named image has, if the store holds more than `limit_bytes`."""
        listed = self.cache / "store" / "overlay-layers" / "layers.json"
        if not listed.exists():
            return
        held_bytes = sum(layer.get("diff-size", 0) for layer in json.loads(listed.read_text()))
        if held_bytes > limit_bytes:
            self._buildah("rmi", "--prune", "--force")

    def export(self, name: str, archive: Path) -> None:
        """Write the image as a docker archive that `images.import_archive` takes."""
        archive.unlink(missing_ok=True)
        self._buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")

    def export_new(self, name: str, archive: Path, present: Collection[str]) -> None:
        """Write the image as an archive without the blobs of the digests `present`."""
        layout = OciLayout(self.cache / "layout")
        self._buildah("push", "--quiet", "--disable-compression", name, layout.reference(name))
        layout.forget_old()
        layout.archive(name, archive, present)

    def has(self, name: str) -> bool:
        """Whether an image of this name was built before."""
        return self._run("images", "--quiet", name).returncode == 0

    def tag(self, name: str, other: str) -> None:
        """Give an image another name, which it takes from any image that has it."""
        self._buildah("tag", name, other)

    def identity(self, name: str) -> str:
        """Digest of the image's configuration, which changes with any of its content."""
        return self._buildah("images", "--quiet", "--no-trunc", name).strip()

    def size_bytes(self, name: str) -> int:
        """Uncompressed size of the image's layers, with its base."""
        kept = json.loads((self.cache / "store" / "overlay-layers" / "layers.json").read_text())
        # A layer that is being written has no digest yet.
        sizes = {one["diff-digest"]: one["diff-size"] for one in kept if "diff-digest" in one}
        return sum(int(sizes[digest]) for digest in self.layers(name))

    def configuration(self, name: str) -> dict[str, Any]:
        """The image's own settings: user, entry point, labels."""
        found: dict[str, Any] = self._inspect(name)["OCIv1"]["config"]
        return found

    def layers(self, name: str) -> list[str]:
        """Digests of the image's layers, uncompressed, from the base up."""
        found: list[str] = self._inspect(name)["OCIv1"]["rootfs"]["diff_ids"]
        return found

    def _inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", name))
        return found

    def _make_base(self, name: str, sources: Path) -> None:
        requirements.install(requirements.IMAGE_PACKAGES)
        self.cache.mkdir(parents=True, exist_ok=True)
        archive = self.cache / "base.tar"
        command = [
            *outside(),
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(_PACKAGES)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            # An image must not name the mirror that this machine uses.
            '--customize-hook=rm -rf "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list',
            _SUITE,
            str(archive),
            str(sources),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TestbedFault(f"mmdebstrap failed: {done.stderr.strip()[-1000:]}")
        recipe = self.cache / "base.Dockerfile"
        recipe.write_text(f"FROM scratch\nADD {archive.name} /\n")
        self.build(recipe, self.cache, name)
        archive.unlink()

    def _buildah(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            raise TestbedFault(f"buildah {words[0]} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        requirements.install(requirements.IMAGE_PACKAGES)
        store = [f"--root={self.cache / 'store'}", f"--runroot={self.cache / 'run'}"]
        # What a build mounts goes with the namespace of the command, however the command ends.
        command = [*outside(), "unshare", "--mount", "--propagation=private"]
        command += ["buildah", *store, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)
