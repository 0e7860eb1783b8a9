"""An image is built again when, and only when, something that it is made of has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from testbed import recipe

_RECIPE = """
FROM base AS first
COPY --from=other /elsewhere /
COPY lock.txt settings.txt ./
FROM first
COPY libs libs
"""
_ARGUMENTS = {"BASE": "a"}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(_RECIPE)
    (tmp_path / "libs" / "deep" / "__pycache__").mkdir(parents=True)
    for name in ("lock.txt", "settings.txt", "README.md", "libs/one.py", "libs/deep/two.py"):
        (tmp_path / name).write_text(name)
    return tmp_path


def _digest(context: Path) -> str:
    return recipe.digest(context / "Dockerfile", context, _ARGUMENTS)


@pytest.mark.parametrize(
    "changed", ["Dockerfile", "lock.txt", "settings.txt", "libs/deep/two.py", "libs/deep/new.py"]
)
def test_a_change_of_what_is_copied_changes_the_digest(context: Path, changed: str) -> None:
    """The recipe, a file that it copies, and a file that is new in a copied folder all count."""
    before = _digest(context)
    with (context / changed).open("a") as file:
        file.write("\n# more")
    assert _digest(context) != before


def test_a_file_that_goes_or_becomes_a_program_changes_the_digest(context: Path) -> None:
    """So do the names of copied files and their modes."""
    seen = [_digest(context)]
    (context / "libs/one.py").chmod(0o755)
    seen.append(_digest(context))
    (context / "libs/one.py").unlink()
    seen.append(_digest(context))
    assert len(set(seen)) == len(seen)


def test_another_base_changes_the_digest(context: Path) -> None:
    """A recipe's arguments name its bases."""
    other = recipe.digest(context / "Dockerfile", context, {"BASE": "b"})
    assert other != _digest(context)


@pytest.mark.parametrize("changed", ["README.md", "libs/deep/__pycache__/two.pyc"])
def test_what_no_image_holds_changes_nothing(context: Path, changed: str) -> None:
    """Files beside those that are copied, and bytecode, leave the digest as it is."""
    before = _digest(context)
    (context / changed).write_text("other")
    assert _digest(context) == before
