"""One TensorFlow for all tests of the trainer: imported, forked and set up once, when asked for."""

from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what trains in this process: the trainer forks before any thread, so it comes alone."""
    for item in items:
        if "shop" in getattr(item, "fixturenames", ()):
            item.add_marker("tensorflow")


@pytest.fixture(scope="session")
def shop() -> Iterator[object]:
    """What a trainer's process trains with."""
    from linnet_trainer.startup import workshop

    with workshop() as made:
        yield made
