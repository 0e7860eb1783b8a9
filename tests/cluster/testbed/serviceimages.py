"""The images of Linnet's services, from the Dockerfiles that production uses, on the node."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .build import locked
from .cluster import Cluster
from .faults import TestbedFault
from .imagebuild import Builder

SERVICES = ("gateway", "profiler", "evaluator", "trainer")
# What the chart installs; the last is for trials only.
IMAGES = (*SERVICES, "store")
TAG = "testbed"
# A few generations of every image.
_STORE_LIMIT_BYTES = 25_000_000_000
_REPOSITORY = Path(__file__).resolve().parents[3]


def name(service: str, tag: str = TAG) -> str:
    """Name of the service's image on the node."""
    return f"localhost/linnet-{service}:{tag}"


@dataclass(frozen=True, slots=True)
class ServiceImages:
    """Builds the services' images from the tree `source` and hands them to the node."""

    builder: Builder
    source: Path = _REPOSITORY

    @classmethod
    def of(cls, cluster: Cluster) -> ServiceImages:
        """Images in the cache of `cluster`."""
        return cls(Builder(cluster.places.cache / "images"))

    def build(self, service: str, *, tag: str = TAG, keep_layers: bool = True) -> str:
        """Build the image of `service`, as far as its content changed, and return its name.

        Args:
            service: Which.
            tag: Of the image.
            keep_layers: Whether layers of earlier builds are used again.

        Raises:
            TestbedFault: The build failed.
        """
        with locked(self.builder.cache / "provide.lock"):
            return self._build(service, tag, keep_layers=keep_layers)

    def provide(self, cluster: Cluster, service: str) -> str:
        """Build the image and import it, unless the node has this very image; return its name."""
        with locked(self.builder.cache / "provide.lock"):
            return self._provide(cluster, service)

    def _provide(self, cluster: Cluster, service: str) -> str:
        image = self._build(service, TAG, keep_layers=True)
        identity = self.builder.identity(image)
        imported = cluster.places.containerd_root / f"{service}.imported"
        known = imported.read_text() if imported.exists() else ""
        if known != identity or image not in cluster.image_names():
            archive = cluster.places.state / f"{service}.tar"
            self.builder.export(image, archive)
            cluster.import_image(archive)
            archive.unlink()
            imported.write_text(identity)
        return image

    def _build(self, service: str, tag: str, *, keep_layers: bool) -> str:
        self.builder.prune(_STORE_LIMIT_BYTES)
        cache = _uv("cache", "dir")
        offline = self.builder.cache / "uv.toml"
        offline.parent.mkdir(parents=True, exist_ok=True)
        # Setup has filled uv's cache with everything that the lock names.
        offline.write_text("offline = true\n")
        self.builder.build(
            self.source / f"deploy/images/{service}.Dockerfile",
            self.source,
            name(service, tag),
            arguments={
                "BASE": self.builder.base(),
                "BUILD_BASE": self.builder.build_base(Path(_uv_program())),
            },
            keep_layers=keep_layers,
            volumes=[f"{cache}:/root/.cache/uv:rw", f"{offline}:/etc/uv/uv.toml:ro"],
        )
        return name(service, tag)


def _uv(*words: str) -> str:
    done = subprocess.run(["uv", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedFault(f"uv {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _uv_program() -> str:
    """Path of uv itself; what is on PATH may be a script that finds it."""
    return _uv("run", "--no-project", "--offline", "--", "printenv", "UV")
