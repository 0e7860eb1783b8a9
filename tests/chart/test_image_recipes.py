"""The Dockerfiles of the services, as production builds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

RECIPES = sorted((Path(__file__).parents[2] / "deploy" / "images").glob("*.Dockerfile"))
_PINNED = re.compile(r"[a-z0-9./-]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}")


def _defaults(recipe: Path) -> dict[str, str]:
    return dict(re.findall(r"^ARG (BASE|BUILD_BASE)=(\S+)$", recipe.read_text(), re.MULTILINE))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_bases_are_pinned_by_digest(recipe: Path) -> None:
    """Both bases default to a public image by tag and digest, and nothing else is pulled."""
    defaults = _defaults(recipe)
    assert defaults.keys() == {"BASE", "BUILD_BASE"}
    for image in defaults.values():
        assert _PINNED.fullmatch(image), image
    stages = {"lock", "dependencies", "program"}
    pulled = set(re.findall(r"^FROM (\S+)", recipe.read_text(), re.MULTILINE)) - stages
    assert pulled == {"${BASE}", "${BUILD_BASE}"}


def test_every_image_has_the_same_bases() -> None:
    """Services share their layers on a node, and an update changes one pair of digests."""
    assert len(RECIPES) == 5
    assert len({tuple(sorted(_defaults(recipe).items())) for recipe in RECIPES}) == 1
