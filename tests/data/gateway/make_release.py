"""Packs what this release does with its records, so that the next one can be held to it.

`python tests/data/gateway/make_release.py FOLDER_OF_linnet_gateway` writes release_<revision>.zip.
The test of rollbacks runs it, from a process of its own, on the schema of the present release.
"""

import re
import sys
import zipfile
from pathlib import Path

_MODULES = (
    "__init__.py",
    "attempts.py",
    "ports.py",
    "queries.py",
    "records.py",
    "reported.py",
    "states.py",
    "transitions.py",
)
_STAMP = (2026, 1, 1, 0, 0, 0)


def main(package: Path) -> None:
    """Write the archive, the same bytes for the same sources."""
    found = re.search(
        r'^HEAD = "(\d+)"', (package / "sql" / "migrate.py").read_text(), re.MULTILINE
    )
    assert found is not None
    files = [package / name for name in _MODULES] + sorted((package / "sql").glob("*.py"))
    target = Path(__file__).with_name(f"release_{found[1]}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = f"linnet_gateway/{file.relative_to(package)}"
            archive.writestr(zipfile.ZipInfo(name, _STAMP), file.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
