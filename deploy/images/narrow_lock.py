# ruff: noqa: INP001 - a script of the images
"""Prints the part of uv.lock that one package of the workspace needs, whatever its extras.

python narrow_lock.py PACKAGE < uv.lock: the blocks are left word for word, so that the result, and
the image layer made from it, changes only with what the package requires.
"""

import sys
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

_BETWEEN = "\n[[package]]\n"


def narrow(lock: str, package: str) -> str:
    """Give the lock without packages that `package` can't lead to.

    Args:
        lock: Text of uv.lock.
        package: Name of a package in it.

    Raises:
        KeyError: The lock names a package that it does not hold.
    """
    head, *blocks = lock.split(_BETWEEN)
    read = [tomllib.loads(f"[[package]]\n{block}")["package"][0] for block in blocks]
    required: dict[str, set[str]] = {}
    for one in read:
        required.setdefault(one["name"], set()).update(_required(one))
    found: set[str] = set()
    waiting = {package}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= required[name] - found
    kept = [block for block, one in zip(blocks, read, strict=True) if one["name"] in found]
    return _BETWEEN.join([head, *kept])


def _required(package: Mapping[str, Any]) -> Iterable[str]:
    optional = package.get("optional-dependencies", {})
    for some in (package.get("dependencies", ()), *optional.values()):
        yield from (str(one["name"]) for one in some)


if __name__ == "__main__":
    sys.stdout.write(narrow(sys.stdin.read(), sys.argv[1]))
