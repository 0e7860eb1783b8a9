"""A release runs on the schema of the next one: after a rollback nothing has to be undone.

The earlier release is the real one, packed by tests/data/gateway/make_release.py; it runs in a
process of its own, in front of the installed one.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from linnet_gateway.sql import migrate

from tests.fakes import postgres

ROOT = Path(__file__).parents[2]
RELEASES = sorted((ROOT / "tests" / "data" / "gateway").glob("release_*.zip"))
BEFORE = RELEASES[-1].stem.removeprefix("release_")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    if postgres.binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.running_postgres() as found:
        yield found


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "earlier"
    with zipfile.ZipFile(RELEASES[-1]) as archive:
        archive.extractall(folder)
    return folder


def at_work(url: str, name: str, release: Path | None = None) -> dict[str, Any]:
    """Let a release do its work; the installed one if none is given."""
    environment = dict(os.environ)
    if release is not None:
        environment["PYTHONPATH"] = str(release)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "release_at_work.py"), url, name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_release_is_rolled_back_and_forward_again(empty_url: str, earlier: Path) -> None:
    """The earlier release starts and works on the later schema, and each sees the other's runs."""
    migrate.upgrade(empty_url, BEFORE)
    before = at_work(empty_url, "before", earlier)
    assert before["revision"] == BEFORE
    later = at_work(empty_url, "later")
    assert later["revision"] == migrate.HEAD == migrate.current(empty_url)
    back = at_work(empty_url, "back", earlier)
    assert back["revision"] == BEFORE
    assert migrate.current(empty_url) == migrate.HEAD
    forward = at_work(empty_url, "forward")
    known: list[str] = []
    for done, name in (
        (before, "before"),
        (later, "later"),
        (back, "back"),
        (forward, "forward"),
    ):
        assert done["found"] == sorted(known)
        assert done["repeated"] == f"u-{name}"
        assert (done["state"], done["epochs"], done["cancelled"]) == ("SUCCEEDED", 1, 3)
        assert done["events"]
        known += [name, f"{name}-1", f"{name}-2"]
        assert set(done["expired"]) >= {f"u-{name}"}


def test_migrations_only_add() -> None:
    """No migration since the earlier release drops, renames or narrows anything."""
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    for path in sorted(folder.glob("[0-9]*.py")):
        source = path.read_text()
        for word in ("drop_", "alter_column", "rename_table", "execute("):
            assert f"op.{word}" not in source, f"{path.name}: op.{word}"
