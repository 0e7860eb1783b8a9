"""The images of Linnet's services, from the Dockerfiles that production uses, on the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import recipe
from .build import locked
from .cluster import Cluster
from .imagebuild import Builder
from .images import blobs
from .uvprogram import uv, uv_itself

SERVICES = ("gateway", "profiler", "evaluator", "trainer")
# What the chart installs; the last is for trials only.
IMAGES = (*SERVICES, "store")
TAG = "testbed"
_BASE_ARGUMENT = "ARG BASE="
# A few generations of every image.
_STORE_LIMIT_BYTES = 25_000_000_000
_REPOSITORY = Path(__file__).resolve().parents[3]


def name(service: str, tag: str = TAG) -> str:
    """Name of the service's image on the node."""
    return f"localhost/linnet-{service}:{tag}"


def public_base() -> str:
    """Name the image that production's recipes start from, in its registry."""
    recipe_text = (_REPOSITORY / "deploy/images/gateway.Dockerfile").read_text()
    return next(
        line.removeprefix(_BASE_ARGUMENT)
        for line in recipe_text.splitlines()
        if line.startswith(_BASE_ARGUMENT)
    )


def small_values(images: Iterable[str]) -> dict[str, Any]:
    """Give values of the chart that name the images on the node and ask for little.

    The requests leave most of a small node to the trainers.
    """
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "2Gi"}}
    named = {image: {"tag": TAG} for image in images}
    parts = ("gateway", "evaluator", "profiler", "store")
    return {
        "images": {"registry": "localhost", "pullPolicy": "Never", **named},
        **{part: {"resources": small} for part in parts},
    }


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
            return self._build(service, name(service, tag), keep_layers=keep_layers)

    def build_as(self, service: str, image: str) -> None:
        """Build the image of `service` under another name.

        Raises:
            TestbedFault: The build failed.
        """
        with locked(self.builder.cache / "provide.lock"):
            self._build(service, image, keep_layers=True)

    def push(self, cluster: Cluster, image: str) -> None:
        """Make an image that `build_as` made known to the node.

        As with a registry, what is there already under another name is not sent again.
        """
        with locked(self.builder.cache / "provide.lock"):
            identity, present = self.builder.identity(image), cluster.image_names()
            for service in IMAGES:
                if name(service) in present and _imported(cluster, service) == identity:
                    cluster.tag_image(name(service), image)
                    return
            self._hand_over(cluster, image)

    def provide(self, cluster: Cluster, service: str, *, built: bool = False) -> str:
        """Build the image and import it, unless the node has this very image; return its name.

        Args:
            cluster: The testbed.
            service: Which.
            built: Whether `build` has made it of this very tree already.
        """
        with locked(self.builder.cache / "provide.lock"):
            return self._provide(cluster, service, built=built)

    def _provide(self, cluster: Cluster, service: str, *, built: bool) -> str:
        image = name(service) if built else self._build(service, name(service), keep_layers=True)
        identity = self.builder.identity(image)
        if _imported(cluster, service) != identity or image not in cluster.image_names():
            self._hand_over(cluster, image)
            _record(cluster, service).write_text(identity)
        return image

    def _hand_over(self, cluster: Cluster, image: str) -> None:
        archive = cluster.places.state / "handed-over.tar"
        present = blobs(cluster.processes, cluster.places)
        self.builder.export_new(image, archive, present)
        cluster.import_image(archive)
        archive.unlink()

    def _build(self, service: str, image: str, *, keep_layers: bool) -> str:
        self.builder.prune(_STORE_LIMIT_BYTES)
        dockerfile = self.source / f"deploy/images/{service}.Dockerfile"
        arguments = {
            "BASE": self.builder.base(),
            "BUILD_BASE": self.builder.build_base(uv_itself()),
        }
        # Buildah reads every layer to see that none has changed; the sources are read in a moment.
        made_of = recipe.digest(dockerfile, self.source, arguments)
        record = self.builder.cache / "made-of" / made_of
        known = record.read_text() if keep_layers and record.exists() else ""
        if known and self.builder.has(known):
            self.builder.tag(known, image)
            return image
        self._build_anew(dockerfile, image, arguments, keep_layers=keep_layers)
        # Whoever edits the sources meanwhile makes another image than the one that was asked for.
        if recipe.digest(dockerfile, self.source, arguments) != made_of:
            return image
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(self.builder.identity(image).removeprefix("sha256:"))
        return image

    def _build_anew(
        self, dockerfile: Path, image: str, arguments: Mapping[str, str], *, keep_layers: bool
    ) -> None:
        cache = uv("cache", "dir")
        offline = self.builder.cache / "uv.toml"
        offline.parent.mkdir(parents=True, exist_ok=True)
        # Setup has filled uv's cache with everything that the lock names.
        offline.write_text("offline = true\n")
        self.builder.build(
            dockerfile,
            self.source,
            image,
            arguments=arguments,
            keep_layers=keep_layers,
            volumes=[f"{cache}:/root/.cache/uv:rw", f"{offline}:/etc/uv/uv.toml:ro"],
        )


def _record(cluster: Cluster, service: str) -> Path:
    """Where is kept which image of the service the node has."""
    return cluster.places.containerd_root / f"{service}.imported"


def _imported(cluster: Cluster, service: str) -> str:
    record = _record(cluster, service)
    return record.read_text() if record.exists() else ""
