"""Stands in for `docker build` and `docker push`: buildah builds, and the node is the registry."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cluster import Cluster
from .faults import TestbedFault
from .places import DEFAULT_NAME
from .serviceimages import IMAGES, ServiceImages


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what docker would with the words of the README; others are refused."""
    options = _parser().parse_args(arguments)
    cluster = Cluster.of(os.environ.get("LINNET_TESTBED") or DEFAULT_NAME)
    images = ServiceImages.of(cluster)
    try:
        if options.command == "push":
            images.push(cluster, options.image)
        else:
            _build(images, Path(options.file), Path(options.context), options.tag)
    except TestbedFault as fault:
        print(f"docker: {fault}", file=sys.stderr)
        return 1
    return 0


def _build(images: ServiceImages, recipe: Path, context: Path, name: str) -> None:
    service = recipe.name.removesuffix(".Dockerfile")
    known = images.source / "deploy" / "images" / recipe.name
    if service not in IMAGES or recipe.resolve() != known or context.resolve() != images.source:
        raise TestbedFault(f"no recipe of this repository: {recipe} in {context}")
    images.build_as(service, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("docker")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("--file", required=True)
    build.add_argument("--tag", required=True)
    build.add_argument("context")
    commands.add_parser("push").add_argument("image")
    return parser


if __name__ == "__main__":
    sys.exit(main())
